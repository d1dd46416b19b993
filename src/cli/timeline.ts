import { setTimeout as wait } from "node:timers/promises";
import { Command } from "commander";
import type { TimelineAnswer } from "../api/index.ts";
import { type Attempt, ENOUGH, type StepHistory, slowestStep } from "../boot/attempt.ts";
import { ask } from "./daemon.ts";
import type { GlobalOptions } from "./options.ts";
import { age, plain, seconds, table } from "./print.ts";

const WATCH_MS = 1_000;

export function timelineCommand(global: () => GlobalOptions): Command {
  const machine = new Command("machine")
    .description("the boots of a machine, step by step, against what is usual for its model; and why it did not boot")
    .argument("<name>", "of the Machine")
    .option("-o, --output <form>", "json, or wide for all attempts and single events")
    .option("-w, --watch", "print it again whenever something happens, until interrupted")
    .action(async (name: string, options: { output?: string; watch?: boolean }) => {
      const { output } = options;
      if (output !== undefined && output !== "json" && output !== "wide") throw new Error(`-o ${output}: there are json and wide`);
      const path = `/v1/machines/${encodeURIComponent(name)}/timeline`;
      for (let before = ""; ; ) {
        const answer = await ask<TimelineAnswer>(global(), path);
        // how long ago something was changes by itself: that is no news
        const { seen: _, ...news } = answer;
        const now = JSON.stringify(news);
        if (now !== before)
          console.log(
            `${before ? "\n" : ""}${output === "json" ? jsonOf(answer, options.watch) : plain(timelineText(answer, new Date(), output === "wide"))}`,
          );
        if (!options.watch) return;
        before = now;
        await wait(WATCH_MS);
      }
    });
  return new Command("timeline").description("what happened, step by step").addCommand(machine);
}

function jsonOf(answer: TimelineAnswer, watch: boolean | undefined): string {
  return watch ? JSON.stringify(answer) : JSON.stringify(answer, null, 2);
}

/** Attempts printed unless all are asked for. */
const SHOWN = 3;

/** The answer as people read it: the last boots, newest first, each with its steps, the slowest marked. */
export function timelineText(answer: TimelineAnswer, now: Date, wide: boolean): string {
  const { machine, model, attempts, history, events } = answer;
  const shown = wide ? attempts : attempts.slice(-SHOWN);
  const boots = Math.max(0, ...history.map(({ count }) => count));
  const usual = model === undefined ? "" : `Model:     ${model}${boots > 0 ? `, ${boots} boot${boots === 1 ? "" : "s"} on record` : ""}\n`;
  const sections = [`Machine:   ${machine}\n${usual}Last seen: ${answer.seen}`];
  sections.push(...[...shown].reverse().map((attempt) => attemptText(attempt, history, now)));
  if (attempts.length > shown.length) sections.push(`${attempts.length - shown.length} earlier: -o wide shows them.`);
  if (attempts.length === 0) sections.push("No boot of it was seen.");
  if (wide && events.length > 0) {
    const rows = events.map(({ at, stage, detail, times }) => [
      age(at, now),
      stage,
      `${detail}${times === undefined ? "" : ` (${times} times)`}`,
    ]);
    sections.push(`Events:\n${indent(table(["AGE", "STAGE", "WHAT"], rows))}`);
  }
  return sections.join("\n\n");
}

const ends = {
  installed: "installed",
  inspected: "inspected",
  hello: "reached the installer",
  disk: "booted its own disk",
  stopped: "stopped",
} as const;

function attemptText(attempt: Attempt, history: readonly StepHistory[], now: Date): string {
  const { number, startedAt, client, end, steps, partial, why } = attempt;
  const total = (Date.parse(steps.at(-1)?.at ?? startedAt) - Date.parse(startedAt)) / 1000;
  const outcome = end === undefined ? "under way" : ends[end];
  const took = steps.length > 0 ? `, ${seconds(total)}${end === undefined ? " so far" : ""}` : "";
  const lines = [`Boot ${number}: ${outcome}, begun ${age(startedAt, now)} ago${client ? ` as ${client}` : ""}${took}`];
  if (partial) lines.push("  its beginning was not seen: the daemon was not running");
  if (steps.length > 0) lines.push(indent(stepTable(attempt, history)));
  if (why !== undefined) lines.push(`  why: ${why}`);
  return lines.join("\n");
}

function stepTable({ steps }: Attempt, history: readonly StepHistory[]): string {
  const slowest = slowestStep(steps, history);
  const rows = steps.map(({ step, seconds: took }) => {
    const usual = history.find((one) => one.step === step && one.count >= ENOUGH);
    const note = step !== slowest ? "" : usual ? `<- slowest: ${seconds(took - usual.median)} more than usual` : "<- longest";
    return [step, seconds(took), usual ? seconds(usual.median) : "-", usual ? seconds(usual.p90) : "-", note];
  });
  return table(["STEP", "TOOK", "MEDIAN", "P90", ""], rows);
}

function indent(text: string): string {
  return text.replace(/^/gm, "  ");
}
