"""``create_app``: the studio's server as an ASGI application (docs/protocol.md).

app = create_app(load_engine, Settings(presets=(nano(),)))
uvicorn.run(app, ws_max_size=65536, ws_per_message_deflate=False)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.websockets import WebSocket

from motionstream.serve.connection import Connection
from motionstream.serve.gallery import FOLDER
from motionstream.serve.guard import Guard
from motionstream.serve.limits import Settings
from motionstream.serve.routes import router
from motionstream.serve.studio import Studio
from motionstream.stream.performance import Performance

VERSION = version("motionstream")


def create_app(
    engine_factory: Callable[[str], Any],
    settings: Settings,
    *,
    performance: type = Performance,
    note: Callable[[str], None] | None = None,
) -> FastAPI:
    """The server.

    Args:
        engine_factory: makes the engine of a preset, by name; called on the compute thread, for the first preset at once.
        settings: see there. performance: the class that plays an engine; another one is for tests.
        note: hears about loading, for people.

    Returns:
        An application; ``app.state.studio.worker.ready`` is a future that tells when the engine has been loaded.
    """
    studio = Studio(engine_factory, settings, performance=performance, note=note)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await studio.start()
        try:
            yield
        finally:
            await studio.stop()

    # FastAPI's own pages of documentation load scripts from elsewhere, so only the description itself is served.
    app = FastAPI(title="motionstream studio", version=VERSION, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.studio = studio
    app.add_middleware(Guard, settings=settings)
    app.include_router(router)

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(settings.static / "index.html", headers={"Cache-Control": "no-cache"})

    @app.websocket("/ws")
    async def live(socket: WebSocket) -> None:
        await Connection(studio, socket, admitted=socket.scope["state"]["admitted"]).serve()

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": str(error.detail)}, error.status_code, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return JSONResponse({"error": f"{first['loc'][-1]}: {first['msg']}"}, 422)

    app.mount("/static", StaticFiles(directory=settings.static, check_dir=False), name="static")
    app.mount("/gallery", StaticFiles(directory=FOLDER), name="gallery")
    return app
