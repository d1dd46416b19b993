import { accessSync, constants } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import { IronwrightError } from "../core/errors.ts";
import type { ChildSpec } from "./supervisor.ts";

const path = z.string().startsWith("/", "must be an absolute path");

const readySchema = z.union([
  z.strictObject({
    http: z.strictObject({
      url: z.url({ protocol: /^https?$/ }),
      socketPath: path.optional(),
      caFile: path.optional(),
      certFile: path.optional(),
      keyFile: path.optional(),
    }),
  }),
  z.strictObject({ tcp: z.string().regex(/^.+:[0-9]+$/, "must be host:port") }),
  z.strictObject({ unix: path }),
]);

const id = z.int().min(1);
const ownerSchema = z.strictObject({ uid: z.int().min(0), gid: z.int().min(0) });

const cellSchema = z.strictObject({
  name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/, "must be letters, digits, dots, dashes, underscores"),
  native: path,
  uid: id,
  gid: id,
  holder: z.boolean(),
  limits: z
    .strictObject({ cpuMillis: z.int().min(1).optional(), memoryBytes: z.int().min(1).optional(), pids: z.int().min(1).optional() })
    .optional(),
  mounts: z.array(
    z.strictObject({
      source: path,
      target: path.regex(/^[^=]*$/, "must not contain ="),
      writable: z.boolean().optional(),
      owner: ownerSchema.optional(),
    }),
  ),
  listen: z.strictObject({ socket: path, gid: z.int().min(0) }).optional(),
});

const specSchema = z.strictObject({
  name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/, "must be letters, digits, dots, dashes, underscores"),
  command: z.tuple([path], z.string()),
  env: z.record(z.string(), z.string()).optional(),
  cwd: path.optional(),
  logFile: path,
  ready: readySchema.optional(),
  stopTimeoutS: z.number().min(0).max(600).optional(),
  uid: z.int().min(0).optional(),
  gid: z.int().min(0).optional(),
  becomesUser: z.boolean().optional(),
  argv0: z.string().optional(),
  cell: cellSchema.optional(),
  awake: readySchema.optional(),
  grants: z.array(z.strictObject({ source: path, owner: ownerSchema })).optional(),
  wakes: z.boolean().optional(),
});

/** @throws IRW_CHILD_INVALID naming the field */
export function parseSpec(value: unknown): ChildSpec {
  const parsed = specSchema.safeParse(value);
  const child = String((value as { name?: unknown } | null)?.name ?? "(no name)");
  if (!parsed.success) {
    const problem = parsed.error.issues.map((issue) => `${issue.path.join(".") || "(top)"}: ${issue.message}`).join("; ");
    throw new IronwrightError("IRW_CHILD_INVALID", { child, problem });
  }
  const spec = parsed.data as ChildSpec;
  for (const program of programsOf(spec)) {
    try {
      accessSync(program, constants.X_OK);
    } catch (error) {
      throw new IronwrightError("IRW_CHILD_INVALID", { child, problem: `command: ${program} is not an executable file` }, error);
    }
  }
  if (spec.cell && process.getuid?.() !== 0)
    throw new IronwrightError("IRW_ISOLATION", { reason: "the supervisor does not run as root, and only root can make a cell" });
  return spec;
}

/** What must be there to run it, by paths of the host. */
function programsOf({ command: [program = ""], cell }: ChildSpec): readonly string[] {
  if (!cell) return [program];
  const mount = cell.mounts.find(({ target }) => program === target || program.startsWith(`${target}/`));
  // not in its view: the native program says so
  return [cell.native, ...(mount ? [`${mount.source}${program.slice(mount.target.length)}`] : [])];
}

/** Whether a running child need not be restarted. What made its cell is not in it any more, and its probes never were. */
export function isSame(one: ChildSpec, other: ChildSpec): boolean {
  return isDeepStrictEqual(comparable(one), comparable(other));
}

function comparable({ cell, ready: _ready, awake: _awake, ...spec }: ChildSpec): unknown {
  return JSON.parse(JSON.stringify({ ...spec, ...(cell ? { cell: { ...cell, native: "" } } : {}) }));
}
