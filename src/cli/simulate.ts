import { readFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import { Command, Option } from "commander";
import {
  type Case,
  type Explanation,
  explained,
  lineOf,
  readCases,
  replay,
  type Sheet,
  type Simulation,
  sheetsOf,
  simulate,
  tally,
  tallyText,
} from "../autoscale/simulate/index.ts";
import { IronwrightError, reasonOf } from "../core/errors.ts";
import { plain, table } from "./print.ts";

interface Options {
  readonly file?: string;
  readonly replay?: string;
  readonly case?: string;
  readonly explain?: string;
  readonly output: "table" | "json";
}

export function simulateCommand(): Command {
  return new Command("simulate")
    .description("decide on a scenario with the planner itself: what would be claimed, placed, refused and given up")
    .option("-f, --file <file>", "the scenario, YAML or JSON; - or nothing: standard input (docs/reference/scenario.md)")
    .option("--replay <file>", "judge each case of a file by what it expects; exit 1 if one does not hold")
    .option("--case <id>", "only this case of the file")
    .option("--explain <pod>", "every machine class and why it does not serve this pod, and what would help")
    .addOption(new Option("-o, --output <form>", "how to print it").choices(["table", "json"]).default("table"))
    .action(async (options: Options) => {
      const file = fileOf(options, process.stdin.isTTY);
      if (options.replay === undefined) decideFile(await casesOf(file), options);
      else judgeFile(await casesOf(file), options);
    });
}

/**
 * The file to read: standard input where no option names one and nobody types there.
 * @throws IRW_SCENARIO_CHOICE when there is none, or more than one
 */
export function fileOf({ file, replay: judged }: Pick<Options, "file" | "replay">, typed: boolean): string {
  if (file !== undefined && judged !== undefined)
    throw new IronwrightError("IRW_SCENARIO_CHOICE", { problem: "both -f and --replay were given" });
  const named = file ?? judged;
  if (named === undefined && typed) throw new IronwrightError("IRW_SCENARIO_CHOICE", { problem: "no scenario was given" });
  return named ?? "-";
}

async function casesOf(file: string): Promise<Case[]> {
  const source = file === "-" ? "standard input" : file;
  try {
    return readCases(file === "-" ? await text(process.stdin) : readFileSync(file, "utf8"), source);
  } catch (error) {
    if (error instanceof IronwrightError) throw error;
    throw new IronwrightError("IRW_SCENARIO_INVALID", { source, problems: `  ${reasonOf(error)}` }, error);
  }
}

function chosen(cases: readonly Case[], { case: id }: Options): readonly Case[] {
  const found = id === undefined ? cases : cases.filter((one) => one.id === id);
  if (found.length === 0)
    throw new IronwrightError("IRW_SCENARIO_CHOICE", { problem: id === undefined ? "the file has no case" : `the file has no case ${id}` });
  return found;
}

function judgeFile(cases: readonly Case[], options: Options): void {
  const ids = new Set(chosen(cases, options).map((one) => one.id));
  const results = replay(cases, (one) => ids.has(one.id));
  const counts = tally(results);
  if (options.output === "json") console.log(JSON.stringify({ cases: results, counts }, null, 2));
  else {
    for (const one of results) console.log(plain(lineOf(one)));
    console.log(`\n${tallyText(counts)}`);
  }
  if (counts.failed > 0) process.exitCode = 1;
}

function decideFile(cases: readonly Case[], options: Options): void {
  const decided = chosen(cases, options).map((one) => ({ one, run: simulate(one.given, cases) }));
  const printed = decided.map(({ one, run }) => ({
    id: one.id,
    ...run.outcome,
    refused: run.refused,
    ignored: [...one.ignored, ...run.given.ignored],
    ...(options.explain === undefined ? {} : { explained: explanation(run, options.explain) }),
  }));
  if (options.output === "json") {
    console.log(JSON.stringify(printed.length === 1 ? printed[0] : printed, null, 2));
    return;
  }
  for (const { one, run } of decided) {
    if (decided.length > 1) console.log(`${one.id}  ${plain(one.title)}`);
    for (const problem of run.refused) console.log(plain(`refused ${problem.path}: ${problem.reason}`));
    for (const problem of [...one.ignored, ...run.given.ignored]) console.log(plain(`ignored ${problem.path}: ${problem.reason}`));
    const sheets = options.explain === undefined ? sheetsOf(run.outcome) : explanation(run, options.explain).sheets;
    if (sheets.length === 0) console.log("nothing to do");
    for (const sheet of sheets) console.log(plain(`${sheet.title}\n${textOf(sheet).replace(/^/gm, "  ")}`));
    if (decided.length > 1) console.log("");
  }
}

/** A pod nobody knows is a mistake of who asks. */
function explanation(run: Simulation, pod: string): Explanation {
  const found = explained(run, pod);
  if (found.unknown) process.exitCode = 1;
  return found;
}

function textOf({ head, rows }: Sheet): string {
  return head.length > 0 ? table(head, rows) : rows.map(([name = "", ...text]) => `${`${name}:`.padEnd(12)} ${text.join(" ")}`).join("\n");
}
