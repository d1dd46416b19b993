import { copyFileSync, existsSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { SetupError } from "./context.mjs";

export const name = "boot-programs";

const IPXE = "/usr/lib/ipxe";
const IPXE_PROGRAMS = ["undionly.kpxe", "snponly.efi"];
const PLAIN = { LC_ALL: "C" };

/**
 * Signed by Microsoft and Debian, for machines whose firmware enforces Secure Boot; by Debian's name of the architecture.
 * @type {Readonly<Record<string, { grub: string, folder: string, suffix: string }>>}
 */
const SIGNED = {
  amd64: { grub: "grub-efi-amd64-signed", folder: "x86_64-efi-signed", suffix: "x64" },
  arm64: { grub: "grub-efi-arm64-signed", folder: "arm64-efi-signed", suffix: "aa64" },
};

/**
 * The folder of network boot programs: Debian's iPXE, and shim and GRUB. These two are unpacked and not installed, since
 * installing them changes how this machine itself boots.
 * @param {import("./context.mjs").Context} ctx
 */
export async function run(ctx) {
  const ipxe = ["undionly.kpxe", "snponly.efi"].map((file) => join(IPXE, file));
  for (const file of ipxe) if (!existsSync(file)) throw new SetupError(`${file} is not there`, "sudo apt-get install --reinstall ipxe");
  const packages = ["shim-signed", signed(ctx).grub];
  let dir;
  try {
    dir = await made(ctx, await candidates(ctx, packages));
  } catch {
    // package lists that are absent or outdated name files that are no longer served
    await ctx.step("Debian package lists", (progress) =>
      ctx.run("apt-get", ["update", "-q"], { env: PLAIN, root: true, onLine: progress }),
    );
    dir = await made(ctx, await candidates(ctx, packages));
  }
  ctx.artifacts({ pxe: dir });
}

/** @param {import("./context.mjs").Context} ctx */
function signed(ctx) {
  const found = SIGNED[ctx.arch];
  if (!found) throw new SetupError(`Debian has no signed boot programs for ${ctx.arch}`, "use an amd64 or arm64 machine");
  return found;
}

/**
 * @param {import("./context.mjs").Context} ctx
 * @param {readonly string[]} packages `name=version`
 */
function made(ctx, packages) {
  const { folder, suffix } = signed(ctx);
  const key = ctx.keyOf(["boot programs 1", ...packages, ctx.arch]);
  return ctx.cache({ part: name, key, label: "network boot programs" }, async (dir, progress) => {
    // as we are: apt's own user may not write here
    await ctx.run("apt-get", ["download", "-o", "APT::Sandbox::User=root", ...packages], { cwd: dir, env: PLAIN, onLine: progress });
    const unpacked = join(dir, "unpacked");
    for (const file of readdirSync(dir)) {
      await ctx.run("dpkg-deb", ["-x", join(dir, file), unpacked]);
      rmSync(join(dir, file));
    }
    // named as shim asks for what it loads next
    copyFileSync(join(unpacked, `usr/lib/shim/shim${suffix}.efi.signed`), join(dir, `shim${suffix}.efi`));
    copyFileSync(join(unpacked, `usr/lib/grub/${folder}/grubnet${suffix}.efi.signed`), join(dir, `grub${suffix}.efi`));
    rmSync(unpacked, { recursive: true });
    for (const program of IPXE_PROGRAMS) symlinkSync(join(IPXE, program), join(dir, program));
  });
}

/**
 * `name=version` of each.
 * @param {import("./context.mjs").Context} ctx
 * @param {readonly string[]} names
 */
async function candidates(ctx, names) {
  const answer = await ctx.run("apt-cache", ["policy", ...names], { env: PLAIN });
  const found = [...answer.matchAll(/^(\S+):\n.*\n {2}Candidate: (\S+)$/gm)].filter(([, , version]) => version !== "(none)");
  if (found.length < names.length) throw new SetupError(`Debian offers no ${names.join(" or no ")} here`, "sudo apt-get update");
  return found.map(([, one, version]) => `${one}=${version}`);
}
