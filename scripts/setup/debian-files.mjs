import { existsSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { SetupError } from "./context.mjs";

export const name = "redis";

/** From Debian's packages: where redis-server and the firmware of virtual servers are. */
/** @param {import("./context.mjs").Context} ctx */
export async function run(ctx) {
  const ovmf = { code: "/usr/share/OVMF/OVMF_CODE_4M.fd", vars: "/usr/share/OVMF/OVMF_VARS_4M.fd" };
  for (const file of [ovmf.code, ovmf.vars]) {
    if (!existsSync(file)) throw new SetupError(`${file} is not there`, "sudo apt-get install --reinstall ovmf");
  }
  ctx.artifacts({ ovmf, redis: await redis(ctx) });
}

/**
 * Debian's redis-server package is a service around a link: the program itself is in redis-tools, which starts nothing.
 * @param {import("./context.mjs").Context} ctx
 */
async function redis(ctx) {
  const program = "/usr/bin/redis-check-rdb";
  if (!existsSync(program)) throw new SetupError(`${program} is not there`, "sudo apt-get install --reinstall redis-tools");
  const dir = await ctx.cache({ part: name, key: ctx.keyOf([`links to ${program}`]), label: "redis-server" }, async (dir) => {
    // it is a server when called by this name, and a checker of dumps otherwise
    symlinkSync(program, join(dir, "redis-server"));
    await ctx.run(join(dir, "redis-server"), ["--version"]);
  });
  return join(dir, "redis-server");
}
