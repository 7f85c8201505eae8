// Talks to the server: requests of the API, and the stream of views with its reconnecting. Draws nothing.

const HEADERS = { "Content-Type": "application/json", "X-Gameday": "drill" };
const AGAIN_MS = [500, 1000, 2000, 5000];

export class Refused extends Error {
  constructor(status, error, remedy) {
    super(remedy ? `${error} – ${remedy}` : error);
    this.status = status;
  }
}

async function answerOf(request) {
  let answer;
  try {
    answer = await request;
  } catch {
    throw new Refused(0, "the drill's server does not answer", "see whether the drill still runs");
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, body.error || `HTTP ${answer.status}`, body.remedy || "");
  return body;
}

export function get(path, role) {
  const url = new URL(path, location.origin);
  if (role) url.searchParams.set("as", role);
  return answerOf(fetch(url, { headers: { Accept: "application/json" } }));
}

export function post(path, body, role) {
  const url = new URL(path, location.origin);
  if (role) url.searchParams.set("as", role);
  return answerOf(fetch(url, { method: "POST", headers: HEADERS, body: JSON.stringify(body) }));
}

// Follows the views until the drill is over. `on` has view(view), over(), link(state): "live", "lost" or "out".
export function follow(role, on) {
  let failures = 0;
  const open = () => {
    const source = new EventSource(`/api/events?as=${role}`);
    source.addEventListener("view", (event) => {
      failures = 0;
      on.link("live");
      on.view(JSON.parse(event.data));
    });
    source.addEventListener("over", () => {
      source.close();
      on.over();
    });
    source.addEventListener("error", () => {
      on.link("lost");
      if (source.readyState === EventSource.CLOSED) again();
    });
  };
  // The browser reconnects by itself, but not after an answer that is no stream: a refusal, or a server just starting.
  const again = async () => {
    const wait = AGAIN_MS[Math.min(failures++, AGAIN_MS.length - 1)];
    await new Promise((resolve) => setTimeout(resolve, wait));
    try {
      await get("/api/view", role);
    } catch (error) {
      if (error.status === 401 || error.status === 403) return on.link("out");
    }
    open();
  };
  open();
}
