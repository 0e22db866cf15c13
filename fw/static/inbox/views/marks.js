// The drawings of the app: the wave, and small signs.
import { html } from "../html.js";

/** The wave of the icon. */
export const Logo = () =>
  html`<svg class="logo" viewBox="0 0 32 32" width="28" height="28" aria-hidden="true">
    <rect width="32" height="32" rx="8" />
    <path d="M4 19c3 0 3-6 6-6s3 6 6 6 3-6 6-6 3 6 6 6" />
  </svg>`;

/** The same wave as a long line, which stands above what is empty. */
export const Wave = () =>
  html`<svg class="wave" viewBox="0 0 240 32" aria-hidden="true">
    <path d="M0 22${"c6 0 6-12 12-12s6 12 12 12".repeat(10)}" />
  </svg>`;

const PATHS = {
  inbox: "M4 13l2.5-8h11L20 13v6H4v-6zm0 0h5l1.5 3h3L15 13h5",
  widgets: "M4 5h16v11H10l-4 4v-4H4z",
  settings: "M4 7h9m5 0h2M4 17h2m5 0h9M13 4.5v5m-7 5v5",
  back: "M15 5l-7 7 7 7",
  close: "M6 6l12 12M18 6L6 18",
  search: "M10.5 17a6.5 6.5 0 1 1 0-13 6.5 6.5 0 0 1 0 13zm4.8-1.7L20 20",
};

export const Sign = ({ name }) =>
  html`<svg class="sign" viewBox="0 0 24 24" width="20" height="20" aria-hidden="true"><path d=${PATHS[name]} /></svg>`;
