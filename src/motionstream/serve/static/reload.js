// A take outlives a reload of the page: what is needed to take it up again is kept for half a minute in this tab.

const KEY = "motionstream.take";
const RESUME_MS = 28000;

export function remember({ link, run, board }) {
  try {
    if (run.active && link.session) {
      const kept = { at: Date.now(), session: link.session, plan: run.plan, board: board.plain() };
      try {
        sessionStorage.setItem(KEY, JSON.stringify(kept));
      } catch { // a long take has more of a past than fits
        sessionStorage.setItem(KEY, JSON.stringify({ ...kept, board: board.plain(board.list) }));
      }
    } else {
      sessionStorage.removeItem(KEY);
      link.close(); // a place in line that nobody comes back to
    }
  } catch { /* no storage: the take is still on the server, as a download */ }
}

export function recall({ link, run, board, panel, presets, view }) {
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
  board.revive(kept.board);
  board.dropped();
  view("studio");
  run.takeUp(kept.session);
}
