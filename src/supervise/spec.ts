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
      caFile: path.optional(),
      certFile: path.optional(),
      keyFile: path.optional(),
    }),
  }),
  z.strictObject({ tcp: z.string().regex(/^.+:[0-9]+$/, "must be host:port") }),
  z.strictObject({ unix: path }),
]);

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
  argv0: z.string().optional(),
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
  const [program = ""] = spec.command;
  try {
    accessSync(program, constants.X_OK);
  } catch (error) {
    throw new IronwrightError("IRW_CHILD_INVALID", { child, problem: `command: ${program} is not an executable file` }, error);
  }
  return spec;
}

/** Whether a running child need not be restarted. */
export function isSame(one: ChildSpec, other: ChildSpec): boolean {
  return isDeepStrictEqual(JSON.parse(JSON.stringify(one)), JSON.parse(JSON.stringify(other)));
}
