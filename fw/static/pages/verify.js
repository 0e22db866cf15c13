// The page of a verification link.
import { sendBy } from "./token.js";

sendBy("/api/auth/verify", {
  advice: "Ask for a new one in the settings of your inbox.",
  refuse(text) {
    document.getElementById("reason").textContent = text;
  },
});
