// The keys, on a sheet.
import { html } from "../html.js";
import { Dialog } from "./dialog.js";

const KEYS = [
  [["j", "k"], "Next, previous"],
  [["Enter"], "Open"],
  [["u"], "Read or unread"],
  [["#"], "Delete"],
  [["z"], "Undo a deletion"],
  [["x"], "Select"],
  [["Shift", "x"], "Select up to here"],
  [["/"], "Search"],
  [["Esc"], "Close, clear the selection"],
  [["?"], "This sheet"],
];

export function Help({ close }) {
  return html`<${Dialog} heading="Keys" close=${close}>
    <dl class="keys">
      ${KEYS.map(
        ([keys, words]) => html`<div>
          <dt>${keys.map((key) => html`<kbd>${key}</kbd> `)}</dt>
          <dd>${words}</dd>
        </div>`,
      )}
    </dl>
    <button type="button" onClick=${close}>Close</button>
  <//>`;
}
