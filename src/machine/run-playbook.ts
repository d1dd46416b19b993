import type { Clock } from "../core/clock.ts";
import { formatDuration } from "../core/duration.ts";
import { IronwrightError, isError, reasonOf } from "../core/errors.ts";
import type { Logger } from "../observe/index.ts";
import { type Action, fill, type Playbook, type PlaybookStep } from "./playbook.ts";
import { quote, type Ssh } from "./ssh.ts";

export interface PlaybookRun {
  readonly ssh: Ssh;
  readonly machine: string;
  /** The operation's fence: the machine refuses a lower one than it has seen. */
  readonly fence: number;
  readonly keeper: string;
  /** Exactly the playbook's `vars`. */
  readonly vars: Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** What `register` kept, by name. */
export type Registered = Readonly<Record<string, unknown>>;

/** playbooks/step.sh exits so when the machine has seen a higher fence. */
const EXIT_FENCE = 113;
const OUTPUT_SHOWN = 600;

/**
 * Runs a playbook's steps one after another.
 * @throws IRW_FENCE_LOST, IRW_STEP_FAILED, IRW_STEP_TIMEOUT, IRW_SSH; a playbook given other variables than it declares
 * is IRW_PLAYBOOK_INVALID, before anything is sent
 */
export async function runPlaybook(playbook: Playbook, run: PlaybookRun): Promise<Registered> {
  checkVariables(playbook, run);
  const registered: Record<string, unknown> = {};
  const due = playbook.steps.filter(({ when }) => !when || (run.vars[when.variable] === when.literal) === when.equal);
  for (const step of together(due, run.vars)) {
    const stdout = await withRetries(playbook, step, run);
    if (step.register) registered[step.register] = parseResult(stdout, label(playbook, step), run.machine);
  }
  return registered;
}

/** A step as it is carried out: files are scripts that write them. */
interface Task extends Omit<PlaybookStep, "action" | "when"> {
  readonly action: Exclude<Action, { do: "upload" | "template" }> | { readonly do: "files"; readonly script: string };
}

/** Files written one after another become one task: a round trip to a machine that is just starting takes a second. */
function together(steps: readonly PlaybookStep[], vars: PlaybookRun["vars"]): readonly Task[] {
  const tasks: Task[] = [];
  for (const step of steps) {
    const task = taskOf(step, vars);
    const last = tasks.at(-1);
    if (last?.action.do !== "files" || task.action.do !== "files" || last.retry.times + task.retry.times > 0) {
      tasks.push(task);
      continue;
    }
    tasks[tasks.length - 1] = {
      ...last,
      name: `${last.name}, ${task.name}`,
      action: { do: "files", script: last.action.script + task.action.script },
      secret: last.secret || task.secret,
      timeoutMs: last.timeoutMs + task.timeoutMs,
    };
  }
  return tasks;
}

function taskOf(step: PlaybookStep, vars: PlaybookRun["vars"]): Task {
  const { action } = step;
  if (action.do !== "upload" && action.do !== "template") return { ...step, action };
  const content = action.do === "upload" ? action.content : Buffer.from(fill(action.text, vars));
  return { ...step, action: { do: "files", script: writeFile(content, action.to, action.mode) } };
}

function checkVariables(playbook: Playbook, { vars }: PlaybookRun): void {
  const missing = playbook.vars.filter((name) => vars[name] === undefined);
  const unknown = Object.keys(vars).filter((name) => !playbook.vars.includes(name));
  if (missing.length + unknown.length === 0) return;
  const problems = [...missing.map((name) => `  vars: ${name} was not given`), ...unknown.map((name) => `  vars: ${name} is not declared`)];
  throw new IronwrightError("IRW_PLAYBOOK_INVALID", { file: playbook.name, problems: problems.join("\n") });
}

async function withRetries(playbook: Playbook, step: Task, run: PlaybookRun): Promise<string> {
  for (let left = step.retry.times; ; left -= 1) {
    try {
      return await once(playbook, step, run);
    } catch (error) {
      const again = isError(error, "IRW_STEP_FAILED") || isError(error, "IRW_STEP_TIMEOUT");
      if (!again || left <= 0) throw error;
      run.log.info(
        { machine: run.machine, step: label(playbook, step), error: step.secret ? error.code : reasonOf(error) },
        "step is tried again",
      );
      await run.clock.sleep(step.retry.delayMs, run.signal);
    }
  }
}

async function once(playbook: Playbook, step: Task, run: PlaybookRun): Promise<string> {
  const timeout = AbortSignal.timeout(step.timeoutMs);
  const bounded = { ...run, signal: AbortSignal.any([run.signal, timeout]) };
  try {
    return await perform(playbook, step, bounded);
  } catch (error) {
    if (!timeout.aborted || run.signal.aborted) throw error;
    throw new IronwrightError(
      "IRW_STEP_TIMEOUT",
      { machine: run.machine, step: label(playbook, step), after: formatDuration(step.timeoutMs) },
      error,
    );
  }
}

async function perform(playbook: Playbook, step: Task, run: PlaybookRun): Promise<string> {
  const { action } = step;
  const execute = (script: string) => executeScript(label(playbook, step), step.secret, script, run);
  switch (action.do) {
    case "run":
      return execute(`${environment(run.vars)}\n${action.script}`);
    case "files":
      return execute(action.script);
    case "wait":
      return until(() => execute(`${environment(run.vars)}\n${action.script}`), action.everyMs, run);
    case "reboot":
      // a session of its own, and a moment for this one to end in order
      return execute("setsid sh -c 'sleep 0.5; sync; reboot -f' > /dev/null 2>&1 < /dev/null &");
  }
}

async function until(attempt: () => Promise<string>, everyMs: number, { clock, signal }: PlaybookRun): Promise<string> {
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (!isError(error, "IRW_STEP_FAILED")) throw error;
      await clock.sleep(everyMs, signal);
    }
  }
}

async function executeScript(step: string, secret: boolean, script: string, run: PlaybookRun): Promise<string> {
  const { ssh, machine, fence, keeper, log, signal } = run;
  const outcome = await ssh.run(`sh -c ${quote(keeper)} step ${fence} ${Buffer.byteLength(script)}`, {
    stdin: script,
    holdInput: true,
    signal,
    ...(secret ? {} : { onLine: (line: string) => log.debug({ machine, step, line }, "output") }),
  });
  if (outcome.exit === 0) return outcome.stdout;
  const seen = outcome.exit === EXIT_FENCE ? /^fence (\d+)$/m.exec(outcome.stderr)?.[1] : undefined;
  if (seen !== undefined) throw new IronwrightError("IRW_FENCE_LOST", { machine, held: fence, now: Number(seen) });
  const said = secret ? "(its output is secret)" : tail(`${outcome.stderr}`.trim() || outcome.stdout.trim() || "it said nothing");
  throw new IronwrightError("IRW_STEP_FAILED", { machine, step, exit: outcome.signal ?? String(outcome.exit), output: said });
}

/** `IW_` and the name in upper case; quoted, so that no value is ever code. */
function environment(vars: Readonly<Record<string, string>>): string {
  return Object.entries(vars)
    .map(([name, value]) => `export IW_${name.toUpperCase()}=${quote(value)}`)
    .join("\n");
}

/** A whole file or none, renamed into place; in base64, since a shell's text holds no NUL. */
function writeFile(content: Buffer, to: string, mode: string): string {
  const lines = content.toString("base64").replace(/.{76}/g, "$&\n");
  const temporary = quote(`${to}.new`);
  return `umask 077\nmkdir -p "$(dirname ${quote(to)})"\nbase64 -d > ${temporary} <<'END'\n${lines}\nEND\nchmod ${quote(mode)} ${temporary}\nmv ${temporary} ${quote(to)}\n`;
}

function parseResult(stdout: string, step: string, machine: string): unknown {
  try {
    return JSON.parse(stdout);
  } catch (error) {
    throw new IronwrightError("IRW_STEP_FAILED", { machine, step, exit: "0", output: `its output is no JSON: ${tail(stdout)}` }, error);
  }
}

function label(playbook: Playbook, step: Task): string {
  return `${playbook.name} (${step.name})`;
}

function tail(text: string): string {
  return text.length > OUTPUT_SHOWN ? `… ${text.slice(-OUTPUT_SHOWN)}` : text;
}
