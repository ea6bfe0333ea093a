"""What else than a hand moves the points of a take: its camera, and motion borrowed from a clip or webcam."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from motionstream.serve import protocol
from motionstream.serve.binary import MotionFrame
from motionstream.serve.depths import PLANE, words_of
from motionstream.serve.motion import BorrowedMotion
from motionstream.serve.protocol import DepthUsed, Error, Followed, MotionEnded, ProtocolError, Stilled
from motionstream.serve.rate import RateGate
from motionstream.serve.rig import STILL, CameraRig, RigSpeed
from motionstream.stream.live_input import LiveInput

if TYPE_CHECKING:
    from motionstream.serve.events import LiveTake
    from motionstream.serve.studio import Studio


class Sources:
    """Of one take that plays; used on the event loop.

    Args:
        live: takes the hand's input; from now on it asks the sources, too.
        tell: says messages of the protocol; may be called from any thread.
    """

    def __init__(self, studio: Studio, take: LiveTake, live: LiveInput, tell: Callable[[object], None]) -> None:
        self.studio, self.take, self.live, self._tell = studio, take, live, tell
        preset = studio.settings.preset(take.preset)
        limits = studio.limits
        self.rig = CameraRig(preset.geometry, lambda reason: tell(Stilled(reason=reason)))
        self.motion = BorrowedMotion(preset, limits.motion_pixels, studio.tracker.submit, self._tell_of_motion)
        live.sources = (self.rig, self.motion)
        self._gate = RateGate(limits.motion_fps, time.monotonic())
        self._choosing: asyncio.Task[None] | None = None

    # ---- the camera --------------------------------------------------------------------------------------------------

    def steer(self, message: protocol.Camera) -> None:
        """Move the camera.

        Raises:
            ValueError: too fast, or recorded input plays; nothing has changed.
        """
        m = message
        self.live.check_open()
        self.live.check_camera(m.pan, m.zoom, m.roll)
        self._steer(RigSpeed(m.pan, m.zoom, m.roll, m.dolly, m.orbit, m.tilt), m.t)

    def _steer(self, speed: RigSpeed, t: int) -> None:
        if self.rig.steer(speed):
            self.live.camera(speed.pan, speed.zoom, speed.roll, t)
        else:
            self.live.camera((0.0, 0.0), 0.0, 0.0, t)

    def choose_depth(self, message: protocol.ChooseDepth) -> None:
        """Use another depth as soon as it is there; the answer is `DepthUsed`, or an error and all is as before."""
        if self._choosing is not None:
            self._choosing.cancel()
        self._choosing = asyncio.create_task(self._choose(message))

    async def _choose(self, message: protocol.ChooseDepth) -> None:
        try:
            depth = await self.studio.depth(self.take, message.depth, message.values)
        except ProtocolError as error:
            self._tell(Error(code=error.code, message=str(error)))
            return
        shot = None if message.depth == PLANE else await self.studio.desk(self.rig.shot_of, depth)
        self.rig.use(shot)
        if not self.rig.speed.still:
            self._steer(self.rig.speed, 0)
        self._tell(DepthUsed(depth=message.depth, words=words_of(depth)))

    # ---- borrowed motion ---------------------------------------------------------------------------------------------

    def borrow(self, message: protocol.BorrowMotion) -> None:
        """Let frames that come pull at the picture.

        Raises:
            ValueError: a region that cannot be used.
        """
        self.live.check_open()
        self.motion.borrow(message.region)

    def see(self, content: bytes) -> None:
        """A binary message of the page: the next frame. More than `motion_fps` of them are passed over in silence.

        Raises:
            ProtocolError: not such a frame.
        """
        frame = MotionFrame.unpack(content)
        if self._gate.admit(time.monotonic()):
            self.motion.offer(frame)

    def _tell_of_motion(self, event: Followed | MotionEnded | str) -> None:
        self._tell(Error(code="bad_motion", message=event) if isinstance(event, str) else event)

    def let_go(self) -> None:
        """No page is there any more."""
        self.motion.end()
        if not self.rig.speed.still:
            self._steer(STILL, 0)

    def close(self) -> None:
        """The take is over."""
        self.motion.end()
        if self._choosing is not None:
            self._choosing.cancel()
