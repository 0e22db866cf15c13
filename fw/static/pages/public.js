// The public page's form: counts characters, and sends without leaving the page. Without this file the form works too.
const form = document.querySelector("form");
const message = form.elements.message;
const button = form.querySelector("button");
const count = document.getElementById("count");
const reason = document.getElementById("reason");
const most = Number(form.dataset.most);
const number = new Intl.NumberFormat("en");

// The server counts characters as Unicode does, not JavaScript's halves of them.
const length = () => [...message.value.trim()].length;

function showCount() {
  const left = most - length();
  count.hidden = left > most / 5;
  count.textContent = left < 0 ? `${number.format(-left)} too many` : `${number.format(left)} left`;
  count.classList.toggle("wrong", left < 0);
}

function refuse(text) {
  reason.textContent = text;
  message.setAttribute("aria-invalid", "true");
  message.focus();
}

function accept() {
  reason.textContent = "";
  message.removeAttribute("aria-invalid");
}

function waitingTime(response) {
  const seconds = Number(response.headers.get("Retry-After")) || 1;
  if (seconds <= 2) return "in a moment";
  return seconds > 120 ? `in about ${Math.round(seconds / 60)} minutes` : `in ${seconds} seconds`;
}

async function whatIsWrong(response) {
  if (response.status === 429) {
    return `A lot has been sent from your network in a short time. Try again ${waitingTime(response)}.`;
  }
  if (response.status === 503) return `This cannot be done right now. Try again ${waitingTime(response)}.`;
  const problem = await response.json().catch(() => ({}));
  return problem.errors?.message?.[0] ? "The message has characters that cannot be stored." : problem.detail || "It did not work.";
}

let key = "";
let keyedText = null;

// The same text has the same key: a second click, or a try after a lost answer, stores nothing twice.
function keyOf(text) {
  if (text !== keyedText) {
    keyedText = text;
    key = `${form.elements.key.value} ${Date.now()}`;
  }
  return key;
}

async function send() {
  const text = message.value;
  const response = await fetch(`/api/feedback/${form.dataset.username}`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "Idempotency-Key": keyOf(text) },
    body: JSON.stringify({ message: text }),
    credentials: "omit",
  });
  if (!response.ok) return refuse(await whatIsWrong(response));
  const thanks = document.getElementById("thanks");
  message.value = "";
  form.hidden = true;
  thanks.hidden = false;
  thanks.focus();
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (button.disabled) return;
  accept();
  if (!length()) return refuse("Write a message first.");
  if (length() > most) {
    return refuse(`A message has at most ${number.format(most)} characters; this one has ${number.format(length())}.`);
  }
  button.disabled = true;
  try {
    await send();
  } catch {
    refuse("There is no connection. Your text is still here: try again when there is one.");
  }
  button.disabled = false;
});

message.addEventListener("input", () => {
  accept();
  showCount();
});
// Whoever comes back by the back button finds the form as it was left.
addEventListener("pageshow", showCount);
