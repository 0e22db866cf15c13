// Calls of the API by the session's cookie; what goes wrong comes as a Problem.
import { duration } from "./words.js";

const TIME_LIMIT = 30_000;

let tellUnauthorized = () => {};

/** Set what is done when the server no longer knows the session. */
export function onUnauthorized(tell) {
  tellUnauthorized = tell;
}

/** An answer that is an error (RFC 9457), or no answer: then `status` is 0. */
export class Problem extends Error {
  constructor(status, { type = "", detail = "", errors = {} } = {}, wait = 0) {
    super(detail);
    this.status = status;
    this.slug = type.replace("/problems/", "");
    this.errors = errors;
    this.wait = wait;
  }

  /** What to tell a person. */
  get words() {
    if (this.status === 0) return "There is no connection to the server. Please try again.";
    if (this.status === 429) return `That was too often. Please try again in ${duration(this.wait || 60)}.`;
    if (this.status === 503) return "The server has too much to do. Please try again in a moment.";
    if (this.status >= 500) return "Something went wrong on the server. Please try again.";
    return this.message || "The server did not accept that.";
  }
}

async function answered(method, path, body, { signal, keepalive = false }) {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), TIME_LIMIT);
  signal?.addEventListener("abort", () => limit.abort());
  try {
    const response = await fetch(path, {
      method,
      keepalive,
      cache: "no-store",
      credentials: "same-origin",
      signal: limit.signal,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const isJson = response.headers.get("Content-Type")?.includes("json");
    return [response, isJson ? await response.json() : null];
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0);
  } finally {
    clearTimeout(timer);
  }
}

/** Call the API and return the body of the answer. Throws a Problem, or an AbortError if `signal` ended the call. */
export async function call(method, path, body, options = {}) {
  const [response, answer] = await answered(method, path, body, options);
  if (response.ok) return answer;
  const problem = new Problem(response.status, answer ?? {}, Number(response.headers.get("Retry-After")) || 0);
  if (problem.slug === "unauthorized") tellUnauthorized();
  throw problem;
}

export const get = (path, options) => call("GET", path, undefined, options);

/** Return a path with those parameters that have a value. */
export function withQuery(path, parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined && value !== null && value !== "") query.set(name, value);
  }
  return query.size ? `${path}?${query}` : path;
}
