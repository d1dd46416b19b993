import { existsSync } from "node:fs";
import { join } from "node:path";
import { SetupError } from "./context.mjs";
import { goBuild } from "./go.mjs";

export const name = "native";

/** @param {import("./context.mjs").Context} ctx */
export async function run(ctx) {
  const module = join(ctx.repo, "native");
  if (!existsSync(join(module, "go.mod"))) throw new SetupError("native/ is not in this checkout", "git checkout native");
  const linkerFlags = "-s -w";
  const key = ctx.keyOf([module, linkerFlags, ctx.arch]);
  const program = "ironwright-native";
  const dir = await ctx.cache({ part: name, key, label: "the native helper" }, (dir, progress) =>
    goBuild(ctx, { module, to: join(dir, program), linkerFlags, progress }),
  );
  ctx.artifacts({ native: join(dir, program) });
}
