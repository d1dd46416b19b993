import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { z } from "zod";
import { parseDuration } from "../core/duration.ts";
import { IronwrightError, reasonOf } from "../core/errors.ts";

/** One step, with the files it names read. */
export interface PlaybookStep {
  readonly name: string;
  readonly action: Action;
  readonly when: Condition | undefined;
  readonly timeoutMs: number;
  readonly retry: { readonly times: number; readonly delayMs: number };
  /** The name its result is kept under: its standard output, parsed as JSON. */
  readonly register: string | undefined;
  /** Neither its output nor its variables are logged or put into an error. */
  readonly secret: boolean;
}

export type Action =
  | { readonly do: "run"; readonly script: string }
  | { readonly do: "upload"; readonly content: Buffer; readonly to: string; readonly mode: string }
  | { readonly do: "template"; readonly text: string; readonly to: string; readonly mode: string }
  | { readonly do: "wait"; readonly script: string; readonly everyMs: number }
  | { readonly do: "reboot" };

export interface Condition {
  readonly variable: string;
  readonly equal: boolean;
  readonly literal: string;
}

export interface Playbook {
  /** `install/partition` */
  readonly name: string;
  readonly description: string;
  readonly vars: readonly string[];
  readonly steps: readonly PlaybookStep[];
}

export interface Playbooks {
  /** @throws IRW_PLAYBOOK_INVALID when there is none of that name */
  get(name: string): Playbook;
  /** What runs each step on the machine (playbooks/step.sh). */
  readonly keeper: string;
}

const FILE_LIMIT = 1024 * 1024;
const VARIABLE = /^[a-z][a-z0-9_]*$/;
const WHEN = /^\s*([A-Za-z0-9_]+)\s*(==|!=)\s*"([^"]*)"\s*$/;
const PLACEHOLDER = /\{\{\s*([^{}]+?)\s*\}\}/g;

const duration = z
  .string()
  .refine((text) => Number.isFinite(parseDuration(text) ?? Number.NaN), "a duration, e.g. 30s or 10m")
  .transform((text) => parseDuration(text) ?? 0);
const beside = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, "the name of a file beside the playbook");
const target = z.string().regex(/^\/[^\0]*[^/\0]$/, "an absolute path on the machine");
const mode = z.string().regex(/^0[0-7]{3}$/, 'an octal mode in quotes, e.g. "0644"');

const stepSchema = z
  .strictObject({
    name: z.string().min(1).optional(),
    run: z.string().min(1).optional(),
    // several are one script, in their order: checks that steps share come first
    script: z.preprocess((files) => (typeof files === "string" ? [files] : files), z.array(beside).min(1)).optional(),
    upload: z.strictObject({ from: beside, to: target, mode }).optional(),
    template: z.strictObject({ from: beside, to: target, mode }).optional(),
    wait: z.strictObject({ run: z.string().min(1), timeout: duration, every: duration.default(1_000) }).optional(),
    reboot: z.strictObject({}).optional(),
    when: z.string().regex(WHEN, 'variable == "literal" or variable != "literal"').optional(),
    timeout: duration.default(120_000),
    retry: z.strictObject({ times: z.int().min(0).max(10), delay: duration.default(1_000) }).prefault({ times: 0 }),
    register: z.string().regex(VARIABLE).optional(),
    secret: z.boolean().default(false),
  })
  .superRefine((step, context) => {
    const actions = ACTIONS.filter((name) => step[name] !== undefined);
    if (actions.length !== 1)
      context.addIssue({
        code: "custom",
        message: `expected exactly one of ${ACTIONS.join(", ")}; found ${actions.join(" and ") || "none"}`,
      });
    if (step.register && !step.run && !step.script)
      context.addIssue({ code: "custom", path: ["register"], message: "only run and script print a result" });
  });
const ACTIONS = ["run", "script", "upload", "template", "wait", "reboot"] as const;

const playbookSchema = z.strictObject({
  description: z.string().min(1),
  vars: z.array(z.string().regex(VARIABLE, "a variable: small letters, digits and _")).default([]),
  steps: z.array(stepSchema).min(1),
});

/**
 * Reads every playbook under a directory: `<folder>/<name>.yaml`. All are checked before the first machine is touched.
 * @throws IRW_PLAYBOOK_INVALID with every problem of the first bad file, by field
 */
export function loadPlaybooks(dir: string): Playbooks {
  const playbooks = new Map<string, Playbook>();
  for (const folder of readdirSync(dir, { withFileTypes: true })) {
    if (!folder.isDirectory()) continue;
    for (const file of readdirSync(join(dir, folder.name)).filter((one) => one.endsWith(".yaml"))) {
      const name = `${folder.name}/${file.slice(0, -".yaml".length)}`;
      playbooks.set(name, readPlaybook(name, join(dir, folder.name), file));
    }
  }
  return {
    keeper: readFileSync(join(dir, "step.sh"), "utf8"),
    get(name) {
      const playbook = playbooks.get(name);
      if (!playbook) throw invalid(join(dir, `${name}.yaml`), ["it does not exist"]);
      return playbook;
    },
  };
}

function readPlaybook(name: string, dir: string, file: string): Playbook {
  const path = join(dir, file);
  let document: unknown;
  try {
    document = parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw invalid(path, [reasonOf(error)]);
  }
  const parsed = playbookSchema.safeParse(document);
  if (!parsed.success)
    throw invalid(
      path,
      parsed.error.issues.map((issue) => `${fieldOf(issue.path)}: ${issue.message}`),
    );
  const { description, vars, steps } = parsed.data;
  const problems: string[] = [];
  const read = (at: string, from: string) => readBeside(dir, from, (problem) => problems.push(`${at}: ${problem}`));
  const declared = new Set(vars);

  const ready = steps.map((step, index): PlaybookStep => {
    const at = `steps[${index}]`;
    const when = step.when === undefined ? undefined : conditionOf(step.when);
    if (when && !declared.has(when.variable)) problems.push(`${at}.when: ${when.variable} is not in vars`);
    const action = actionOf(step, at, read);
    if (action.do === "template")
      for (const [, variable = ""] of action.text.matchAll(PLACEHOLDER))
        if (!declared.has(variable)) problems.push(`${at}.template: ${step.template?.from} uses {{ ${variable} }}, which is not in vars`);
    return {
      name: step.name ?? action.do,
      action,
      when,
      timeoutMs: step.wait?.timeout ?? step.timeout,
      retry: { times: step.retry.times, delayMs: step.retry.delay },
      register: step.register,
      secret: step.secret,
    };
  });
  if (problems.length > 0) throw invalid(path, problems);
  return { name, description, vars, steps: ready };
}

function actionOf(step: z.output<typeof stepSchema>, at: string, read: (at: string, from: string) => Buffer): Action {
  if (step.upload)
    return { do: "upload", content: read(`${at}.upload.from`, step.upload.from), to: step.upload.to, mode: step.upload.mode };
  if (step.template)
    return {
      do: "template",
      text: read(`${at}.template.from`, step.template.from).toString("utf8"),
      to: step.template.to,
      mode: step.template.mode,
    };
  if (step.wait) return { do: "wait", script: step.wait.run, everyMs: step.wait.every };
  if (step.reboot) return { do: "reboot" };
  const files = step.script ?? [];
  return { do: "run", script: step.run ?? files.map((file) => read(`${at}.script`, file).toString("utf8")).join("\n") };
}

function readBeside(dir: string, file: string, problem: (text: string) => void): Buffer {
  try {
    const path = join(dir, file);
    const { size } = statSync(path);
    if (size > FILE_LIMIT) problem(`${file} has ${size} bytes, at most ${FILE_LIMIT} are allowed`);
    else return readFileSync(path);
  } catch (error) {
    problem((error as NodeJS.ErrnoException).code === "ENOENT" ? `there is no file ${file} beside it` : reasonOf(error));
  }
  return Buffer.alloc(0);
}

function conditionOf(text: string): Condition {
  const [, variable = "", operator, literal = ""] = WHEN.exec(text) ?? [];
  return { variable, equal: operator === "==", literal };
}

/** A template with its variables filled in: nothing in them is looked at again, and nothing executes. */
export function fill(template: string, vars: Readonly<Record<string, string>>): string {
  return template.replace(PLACEHOLDER, (_whole, variable: string) => vars[variable] ?? "");
}

function fieldOf(path: readonly PropertyKey[]): string {
  return (
    path.reduce<string>(
      (text, part) => (typeof part === "number" ? `${text}[${part}]` : text ? `${text}.${String(part)}` : String(part)),
      "",
    ) || "the document"
  );
}

function invalid(file: string, problems: readonly string[]): IronwrightError {
  return new IronwrightError("IRW_PLAYBOOK_INVALID", { file, problems: problems.map((line) => `  ${line}`).join("\n") });
}
