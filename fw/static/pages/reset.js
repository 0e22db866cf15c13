// The page of a reset link.
import { sendBy } from "./token.js";

const password = document.getElementById("password");

sendBy("/api/auth/reset", {
  fields: () => ({ new_password: password.value }),
  field: "new_password",
  advice: "Ask for a new one.",
  refuse(text) {
    document.getElementById("reason").textContent = text;
    password.setAttribute("aria-invalid", "true");
    password.focus();
  },
});
