// The keys of the inbox. A view says what each of them does while it is shown.
const commands = new Map();

const isTyping = ({ target }) =>
  target.isContentEditable || target.matches?.("textarea, select, input:not([type=checkbox], [type=radio], [type=color])");

/** Have keys do something: `{key: function}`. Returns what ends that. */
export function onKeys(bindings) {
  for (const [key, command] of Object.entries(bindings)) commands.set(key, command);
  return () => {
    for (const [key, command] of Object.entries(bindings)) {
      if (commands.get(key) === command) commands.delete(key);
    }
  };
}

export function takeKey(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.querySelector("dialog[open]")) return;
  if (isTyping(event) && event.key !== "Escape") return;
  const command = commands.get(event.key);
  if (command && command(event) !== false) event.preventDefault();
}
