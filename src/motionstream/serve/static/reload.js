// A take outlives a reload of the page: what is needed to take it up again is kept for half a minute in this tab. So does
// a picture that is not started yet, with what was drawn on it.

const KEY = "motionstream.take";
const RESUME_MS = 28000;
const BEFORE = ["draft", "waiting", "starting"];

export function remember({ link, run, board, panel }) {
  try {
    const session = run.active ? link.session : null;
    if (!session) link.close(); // a place in line that nobody comes back to
    if (session || BEFORE.includes(run.phase)) {
      const kept = { at: Date.now(), session, take: run.take?.take, plan: run.plan, board: board.plain(), options: panel.plain() };
      try {
        sessionStorage.setItem(KEY, JSON.stringify(kept));
      } catch { // a long take has more of a past than fits
        sessionStorage.setItem(KEY, JSON.stringify({ ...kept, board: board.plain(board.list) }));
      }
    } else {
      sessionStorage.removeItem(KEY);
    }
  } catch { /* no storage: the take is still on the server, as a download */ }
}

export function recall({ link, run, board, panel, presets, view, picture }) {
  let kept = null;
  try {
    kept = JSON.parse(sessionStorage.getItem(KEY));
    sessionStorage.removeItem(KEY);
  } catch { /* nothing usable */ }
  if (!kept || Date.now() - kept.at > RESUME_MS) return;
  const preset = presets.find(({ name }) => name === kept.plan.preset) || presets[0];
  if (!preset) return;
  run.prepare(kept.plan, preset);
  panel.scale(preset);
  panel.revive(kept.options);
  board.revive(kept.board);
  view("studio");
  if (!kept.session) {
    picture(kept.plan);
    return;
  }
  board.dropped();
  run.takeUp(kept.session, kept.take);
}
