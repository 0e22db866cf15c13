// The page of a reset link: the token stands in the fragment, and is sent with the new password alone.
const form = document.querySelector("form");
const password = document.getElementById("password");
const reason = document.getElementById("reason");
const token = new URLSearchParams(location.hash.slice(1)).get("token");

form.hidden = !token;
document.getElementById("broken").hidden = Boolean(token);

function refuse(text) {
  reason.textContent = text;
  password.setAttribute("aria-invalid", "true");
  password.focus();
}

async function whatIsWrong(response) {
  if (response.status === 429) return `Too many tries. Try again in ${response.headers.get("Retry-After")} seconds.`;
  const problem = await response.json().catch(() => ({}));
  if (problem.errors?.token) return "This link has been used, or is too old. Ask for a new one.";
  return problem.errors?.new_password?.[0] || problem.detail || "It did not work.";
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    const response = await fetch("/api/auth/reset", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ token, new_password: password.value }),
      credentials: "omit",
    });
    if (response.ok) {
      // The used token stays in no history.
      history.replaceState(null, "", location.pathname);
      form.hidden = true;
      document.getElementById("done").hidden = false;
      document.getElementById("done").focus();
    } else {
      refuse(await whatIsWrong(response));
    }
  } catch {
    refuse("There is no connection. Try again when there is one.");
  }
  button.disabled = false;
});
