// The page of a verification link: the token stands in the fragment, and is sent when the button is pressed.
const form = document.querySelector("form");
const reason = document.getElementById("reason");
const token = new URLSearchParams(location.hash.slice(1)).get("token");

form.hidden = !token;
document.getElementById("broken").hidden = Boolean(token);

async function whatIsWrong(response) {
  if (response.status === 429) return `Too many tries. Try again in ${response.headers.get("Retry-After")} seconds.`;
  const problem = await response.json().catch(() => ({}));
  if (problem.errors?.token) return "This link has been used, or is too old. Ask for a new one in the settings of your inbox.";
  return problem.detail || "It did not work.";
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    const response = await fetch("/api/auth/verify", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ token }),
      credentials: "omit",
    });
    if (response.ok) {
      // The used token stays in no history.
      history.replaceState(null, "", location.pathname);
      form.hidden = true;
      document.getElementById("done").hidden = false;
      document.getElementById("done").focus();
    } else {
      reason.textContent = await whatIsWrong(response);
    }
  } catch {
    reason.textContent = "There is no connection. Try again when there is one.";
  }
  button.disabled = false;
});
