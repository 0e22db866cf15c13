// What an empty list says: what to do next, or that nothing matches.
import { html } from "../html.js";
import { user } from "../session.js";
import { snippetOf, widgets } from "../widgets.js";
import { Copy } from "./copy.js";
import { Wave } from "./marks.js";

/** Nothing has come yet. */
export function Welcome() {
  const address = `${location.origin}/u/${user.value?.username}`;
  const widget = widgets.value?.[0];
  return html`<div class="welcome">
    <${Wave} />
    <h2>Your inbox is ready</h2>
    <p>Whatever people send you appears here by itself.</p>
    <ol>
      <li>
        <h3>Share your page</h3>
        <p>Whoever has this link can write to you.</p>
        <${Copy} text=${address} label="the link">
          <a class="button" href=${address} target="_blank" rel="noopener">Open in a new tab</a>
        <//>
      </li>
      <li>
        <h3>Put a widget on your site</h3>
        ${widget
          ? html`<p>Paste this where the widget is to be.</p>
              <${Copy} text=${snippetOf(widget.id)} label="the snippet" />`
          : html`<p>A button, a form or a rating: one line of HTML for your own site.</p>
              <a class="button" href="/inbox/widgets/new">Make your first widget</a>`}
      </li>
    </ol>
  </div>`;
}

export const NothingFound = ({ showAll }) => html`<div class="nothing">
  <${Wave} />
  <p role="status">Nothing here matches.</p>
  <button type="button" onClick=${showAll}>Show all</button>
</div>`;

/** What stands beside the list while no item is opened. */
export const NothingOpen = ({ help }) => html`<div class="nothing-open">
  <${Wave} />
  <p>Choose an item to read it.</p>
  <p class="hint"><kbd>j</kbd> <kbd>k</kbd> move, <kbd>Enter</kbd> opens.${" "}
    <button type="button" class="link" onClick=${help}>All keys</button></p>
</div>`;
