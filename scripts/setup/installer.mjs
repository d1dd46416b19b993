import { join } from "node:path";

export const name = "installer";

/** The vm flavour is what the virtual rack boots; `images/installer/build.sh OUT hardware` makes the other one. */
const FLAVOUR = "vm";

/** @param {import("./context.mjs").Context} ctx */
export async function run(ctx) {
  const recipe = join(ctx.repo, "images/installer");
  const key = ctx.keyOf([recipe, join(ctx.repo, "images/debian.sh"), FLAVOUR, ctx.arch]);
  const dir = await ctx.cache({ part: name, key, label: "the installer: kernel and initramfs" }, async (dir, progress) => {
    progress("fetching Debian packages");
    await ctx.run("bash", [join(recipe, "build.sh"), dir, FLAVOUR], { root: true, onLine: progress });
  });
  ctx.artifacts({ installer: { kernel: join(dir, "vmlinuz"), initrd: join(dir, "initrd") } });
}
