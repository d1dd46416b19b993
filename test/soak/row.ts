import { loadavg } from "node:os";

/** A row of docs/reference/soak.md. */
export function row(what: string, howMuch: string, result: string, beganAt: number): string {
  const day = new Date().toISOString().slice(0, 10);
  const load = loadavg()
    .map((one) => one.toFixed(1))
    .join(" ");
  return `| ${day} | ${what} | ${howMuch} | ${result}; ${Math.round((Date.now() - beganAt) / 1000)} s, load ${load} |`;
}
