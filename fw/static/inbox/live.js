// The live channel: opened, watched, and opened again from the cursor.
import { countAgain } from "./count.js";
import { signal } from "./html.js";
import { list } from "./list.js";
import { check, lost } from "./session.js";
import { position, takeEvent, tryAgain } from "./sync.js";

const PROTOCOL = "feedbackwave";
const UNAUTHORIZED = 4401;
const TOO_MANY = 4429;
const [FIRST_WAIT, LONGEST_WAIT] = [500, 30_000];
// A connection may be dead without either side knowing; asking now and then finds out.
const [PROBE, GRACE] = [60_000, 3000];

/** `live`, `connecting`, `lost` (waits to try again) or `crowded` (the server takes no further reader). */
export const connection = signal("connecting");

let socket = null;
let attempts = 0;
let timer;
let isWanted = false;

/** Begin to follow the inbox, from the cursor of its list. */
export function start() {
  isWanted = true;
  attempts = 0;
  connect();
}

export function stop() {
  isWanted = false;
  clearTimeout(timer);
  leave();
  connection.value = "connecting";
}

function leave() {
  const left = socket;
  socket = null;
  left?.close();
}

function connect() {
  clearTimeout(timer);
  leave();
  if (!isWanted) return;
  const url = new URL("/api/feedback/live", location.href);
  url.protocol = location.protocol.replace("http", "ws");
  if (position() !== null) url.searchParams.set("since", position());
  const mine = (socket = new WebSocket(url, [PROTOCOL]));
  mine.onmessage = ({ data }) => mine === socket && receive(JSON.parse(data));
  mine.onclose = ({ code }) => mine === socket && closed(code);
}

function receive(event) {
  if (event.event === "hello") {
    attempts = 0;
    connection.value = "live";
    // While there was no connection the list could not be read either.
    if (list.value.state === "failed") tryAgain();
  }
  takeEvent(event);
}

function closed(code) {
  socket = null;
  if (code === UNAUTHORIZED) {
    lost();
    return;
  }
  attempts += 1;
  const longest = code === TOO_MANY ? LONGEST_WAIT * 2 : Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempts - 1));
  // Chance keeps the readers of a server that restarts from all coming back in the same moment.
  timer = setTimeout(connect, longest * (0.5 + Math.random() / 2));
  if (code === TOO_MANY) connection.value = "crowded";
  else if (attempts > 1 || connection.value !== "live") explain();
  else connection.value = "lost";
}

/** A refused upgrade looks like a lost connection. Whether the server answers otherwise tells them apart. */
async function explain() {
  if (connection.value === "live") connection.value = "lost";
  try {
    await check();
    if (connection.value !== "live" && attempts > 2) connection.value = "crowded";
  } catch {
    if (connection.value !== "live") connection.value = "lost";
  }
}

/** Find out whether the channel still brings what happens; if not, open another one. */
async function probe() {
  if (!isWanted || document.hidden) return;
  if (socket?.readyState !== WebSocket.OPEN) {
    attempts = 0;
    connect();
    return;
  }
  const probed = socket;
  try {
    const reached = await countAgain();
    await new Promise((resolve) => setTimeout(resolve, GRACE));
    if (socket !== probed) return;
    if ((position() ?? 0) < reached) connect();
    else connection.value = "live";
  } catch {
    if (socket === probed) connect();
  }
}

/** Come back as soon as there is a chance: when the page is looked at again, or the machine is online again. */
export function watch() {
  addEventListener("online", probe);
  addEventListener("offline", () => {
    if (isWanted) connection.value = "lost";
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden || !isWanted) return;
    check().then(probe, probe);
  });
  addEventListener("pageshow", (event) => {
    if (event.persisted) check().then(probe, probe);
  });
  setInterval(probe, PROBE);
}
