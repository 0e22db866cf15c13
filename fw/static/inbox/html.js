// What every view needs of the libraries, in one place: templates, hooks and signals.
import { h, render } from "../vendor/preact/preact.js";
import htm from "../vendor/htm/htm.js";

export const html = htm.bind(h);
export { render };
export { useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from "../vendor/preact/hooks.js";
export { batch, computed, effect, signal, untracked } from "../vendor/signals/signals.js";
