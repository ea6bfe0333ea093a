// Keeps time for the heartbeat: unlike a page's, a worker's timer goes on while the page is hidden.

const PING_MS = 3000;

setInterval(() => postMessage(null), PING_MS);
