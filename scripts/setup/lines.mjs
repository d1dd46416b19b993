/** A step that takes less shows nothing but its end. */
const SHOW_AFTER_MS = 500;
/** Where lines cannot be rewritten, a step still under way says so this often. */
const REMIND_MS = 30_000;

/** @typedef {ReturnType<typeof createLines>} Lines */

/**
 * What a person sees: one line a step, rewritten in place on a terminal.
 * @param {NodeJS.WriteStream} out
 */
export function createLines(out) {
  return {
    /** @param {string} text */
    say(text) {
      out.write(`${text}\n`);
    },

    /**
     * @template T
     * @param {string} label
     * @param {(progress: (text: string) => void) => Promise<T>} work
     * @returns {Promise<T>}
     */
    async step(label, work) {
      const began = Date.now();
      const elapsed = () => duration(Date.now() - began);
      let detail = "";
      const show = () => {
        const line = `  ${label}${detail ? `: ${detail}` : ""} (${elapsed()})`;
        out.write(out.isTTY ? `\r\x1b[K${line.slice(0, (out.columns ?? 80) - 1)}` : `${line}\n`);
      };
      const first = setTimeout(show, SHOW_AFTER_MS);
      const timer = setInterval(show, out.isTTY ? 500 : REMIND_MS);
      const clear = () => {
        clearTimeout(first);
        clearInterval(timer);
        if (out.isTTY) out.write("\r\x1b[K");
      };
      try {
        const result = await work((text) => {
          detail = text.trim();
        });
        clear();
        out.write(`  ${label}: done in ${elapsed()}\n`);
        return result;
      } catch (error) {
        clear();
        out.write(`  ${label}: failed after ${elapsed()}\n`);
        throw error;
      }
    },
  };
}

/** @param {number} ms */
export function duration(ms) {
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  return seconds < 100 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}
