import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { goPlaces } from "./go.mjs";

export const name = "node";

/** The vm flavour is what the virtual rack installs; `--flavour hardware` of the recipe makes the other one. */
const FLAVOUR = "vm";

/** @param {import("./context.mjs").Context} ctx */
export async function run(ctx) {
  const images = join(ctx.repo, "images");
  const recipe = join(images, "node");
  const kubelet = join(ctx.have.kube.bin, "kubelet");
  const native = ctx.have.native;
  // the two programs stand for their own keys: their directories are named by content
  const key = ctx.keyOf([recipe, join(images, "oci"), join(images, "debian.sh"), FLAVOUR, ctx.arch, ...[kubelet, native].map(keyInPath)]);
  const dir = await ctx.cache({ part: name, key, label: "the node image" }, async (dir, progress) => {
    // made without root; the rest needs root for mounts and owners
    progress("building the pause image");
    const oci = join(dir, "oci");
    await ctx.run("bash", [join(images, "oci/build.sh"), oci, "/bin/busybox"], { env: await goPlaces(ctx), onLine: progress });
    progress("fetching Debian packages");
    const programs = ["--kubelet", kubelet, "--native", native, "--oci", oci, "--flavour", FLAVOUR];
    await ctx.run("bash", [join(recipe, "build.sh"), dir, ...programs], { root: true, onLine: progress });
  });
  const { file, ...facts } = JSON.parse(readFileSync(join(dir, "image.json"), "utf8"));
  ctx.artifacts({ node: { image: join(dir, file), ...facts } });
}

/** @param {string} path …/<part>/<key>/… */
function keyInPath(path) {
  return (
    path
      .split("/")
      .filter((part) => /^[0-9a-f]{16}$/.test(part))
      .join("/") || dirname(path)
  );
}
