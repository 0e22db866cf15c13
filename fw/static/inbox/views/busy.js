// What a click starts: once at a time, and what goes wrong is told.
import { useRef, useState } from "../html.js";
import { tell } from "../notices.js";
import { textsOf } from "./field.js";

/** Return `[isBusy, run]`: `run(act)` does nothing while what was run before goes on. */
export function useBusy() {
  const [isBusy, setBusy] = useState(false);
  const busy = useRef(false);
  const run = async (act) => {
    if (busy.current) return;
    busy.current = true;
    setBusy(true);
    try {
      await act();
    } catch (problem) {
      if (problem.status === undefined) throw problem;
      tell(textsOf(problem.errors)?.join(" ") ?? problem.words, { isError: true });
    } finally {
      busy.current = false;
      setBusy(false);
    }
  };
  return [isBusy, run];
}
