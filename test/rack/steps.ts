/** One that was taken. */
export interface Step {
  readonly title: string;
  readonly seconds: number;
  readonly failed?: true;
}

/** What `npm run demo` shows: one line a step, live on a terminal, with the seconds it took. */
export interface Show {
  /** Runs one step. `watch` tells what it waits for; on a terminal that is shown while it runs. */
  step<T>(title: string, run: (watch: (what: string) => void) => Promise<T>): Promise<T>;
  say(text: string): void;
  readonly taken: readonly Step[];
}

export function createShow(out: NodeJS.WriteStream): Show {
  const taken: Step[] = [];
  const begun = performance.now();
  const since = (from: number) => (performance.now() - from) / 1000;
  const clock = () => `${since(begun).toFixed(0).padStart(4)}s`;
  const columns = () => out.columns ?? 120;

  return {
    taken,
    say: (text) => void out.write(`${text}\n`),
    async step(title, run) {
      const from = performance.now();
      let waits = "";
      const live = () => {
        if (!out.isTTY) return;
        out.write(`\r\x1b[K${`${clock()}  … ${title} (${since(from).toFixed(0)} s)${waits ? `: ${waits}` : ""}`.slice(0, columns() - 1)}`);
      };
      const timer = setInterval(live, 500);
      live();
      try {
        const value = await run((what) => {
          waits = what;
          live();
        });
        const seconds = since(from);
        taken.push({ title, seconds });
        end(out, `${clock()}  ✓ ${title}  ${seconds.toFixed(1)} s`);
        return value;
      } catch (error) {
        const seconds = since(from);
        taken.push({ title, seconds, failed: true });
        end(out, `${clock()}  ✗ ${title}  ${seconds.toFixed(1)} s${waits ? `\n       last seen: ${waits}` : ""}`);
        throw error;
      } finally {
        clearInterval(timer);
      }
    },
  };
}

function end(out: NodeJS.WriteStream, line: string): void {
  out.write(out.isTTY ? `\r\x1b[K${line}\n` : `${line}\n`);
}

/** Asks until the answer is there, and says what it last saw when it is not there in time. */
export async function until<T>(
  what: string,
  timeoutMs: number,
  signal: AbortSignal,
  look: () => Promise<T | undefined>,
  seen: () => string = () => "",
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    signal.throwIfAborted();
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > deadline) throw new Error(`${what}: not within ${timeoutMs / 1000} s${seen() ? `; last seen: ${seen()}` : ""}`);
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}
