// The pages of links in mails: the token stands in the fragment, and is sent when the form is.
const form = document.querySelector("form");
const token = new URLSearchParams(location.hash.slice(1)).get("token");

form.hidden = !token;
document.getElementById("broken").hidden = Boolean(token);

async function whatIsWrong(response, advice, field) {
  if (response.status === 429) return `Too many tries. Try again in ${response.headers.get("Retry-After")} seconds.`;
  const problem = await response.json().catch(() => ({}));
  if (problem.errors?.token) return `This link has been used, or is too old. ${advice}`;
  return problem.errors?.[field]?.[0] || problem.detail || "It did not work.";
}

function finish() {
  // The used token stays in no history.
  history.replaceState(null, "", location.pathname);
  form.hidden = true;
  document.getElementById("done").hidden = false;
  document.getElementById("done").focus();
}

// Sends the token to a path with what `fields` returns. What is wrong is told by `refuse`; `advice` is what to do about a token
// that is not valid, `field` the one field that may be wrong.
export function sendBy(path, { fields = () => ({}), refuse, advice, field }) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    try {
      const response = await fetch(path, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ token, ...fields() }),
        credentials: "omit",
      });
      if (response.ok) finish();
      else refuse(await whatIsWrong(response, advice, field));
    } catch {
      refuse("There is no connection. Try again when there is one.");
    }
    button.disabled = false;
  });
}
