import type { Clock } from "../core/clock.ts";
import { formatDuration } from "../core/duration.ts";
import { IronwrightError, isError, reasonOf } from "../core/errors.ts";
import type { Logger } from "../observe/index.ts";
import { fill, type Playbook, type PlaybookStep } from "./playbook.ts";
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
  for (const step of playbook.steps) {
    const { when } = step;
    if (when && (run.vars[when.variable] === when.literal) !== when.equal) continue;
    const stdout = await withRetries(playbook, step, run);
    if (step.register) registered[step.register] = parseResult(stdout, label(playbook, step), run.machine);
  }
  return registered;
}

function checkVariables(playbook: Playbook, { vars }: PlaybookRun): void {
  const missing = playbook.vars.filter((name) => vars[name] === undefined);
  const unknown = Object.keys(vars).filter((name) => !playbook.vars.includes(name));
  if (missing.length + unknown.length === 0) return;
  const problems = [...missing.map((name) => `  vars: ${name} was not given`), ...unknown.map((name) => `  vars: ${name} is not declared`)];
  throw new IronwrightError("IRW_PLAYBOOK_INVALID", { file: playbook.name, problems: problems.join("\n") });
}

async function withRetries(playbook: Playbook, step: PlaybookStep, run: PlaybookRun): Promise<string> {
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

async function once(playbook: Playbook, step: PlaybookStep, run: PlaybookRun): Promise<string> {
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

async function perform(playbook: Playbook, step: PlaybookStep, run: PlaybookRun): Promise<string> {
  const { action } = step;
  const execute = (script: string) => executeScript(label(playbook, step), step.secret, script, run);
  switch (action.do) {
    case "run":
      return execute(`${environment(run.vars)}\n${action.script}`);
    case "upload":
      return execute(writeFile(action.content, action.to, action.mode));
    case "template":
      return execute(writeFile(Buffer.from(fill(action.text, run.vars)), action.to, action.mode));
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

function label(playbook: Playbook, step: PlaybookStep): string {
  return `${playbook.name} (${step.name})`;
}

function tail(text: string): string {
  return text.length > OUTPUT_SHOWN ? `… ${text.slice(-OUTPUT_SHOWN)}` : text;
}
