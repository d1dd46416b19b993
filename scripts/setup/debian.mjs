import { existsSync, readFileSync } from "node:fs";
import { SetupError } from "./context.mjs";

/** What is used of Debian, each with its reason. Taken without recommended packages: those bring services. */
const PACKAGES = {
  "busybox-static": "the small container image of the node image; a foreign DHCP and TFTP client in tests",
  "ca-certificates": "TLS to package registries",
  cpio: "the installer's initramfs",
  e2fsprogs: "the file system of the node image",
  iproute2: "network namespaces",
  ipxe: "boot programs for BIOS and UEFI",
  "ipxe-qemu": "network boot ROMs of virtual servers",
  kmod: "which modules an image's own modules need",
  lz4: "the node image",
  mmdebstrap: "Debian roots of the installer and the node image",
  ovmf: "UEFI firmware of virtual servers",
  "qemu-system-x86": "virtual servers",
  "qemu-utils": "disks of virtual servers",
  "redis-tools": "Redis, as a program and not as a service",
  seabios: "BIOS of virtual servers",
  zstd: "the installer's initramfs",
};

/** And what only tests use. */
const TEST_PACKAGES = {
  curl: "a foreign HTTP client",
  "dropbear-bin": "a real SSH server for the client's tests",
  openssl: "certificates judged by somebody else",
  procps: "the list of processes, to see that none is left",
};

const POLICY_MARK = "# put here by Ironwright's set-up while it installs packages";

/**
 * @param {import("./context.mjs").Context} ctx
 * @param {string} policy the file that packages ask before they start anything
 */
export async function run(ctx, policy = "/usr/sbin/policy-rc.d") {
  await allowStarts(ctx, policy); // a set-up that was killed left its own
  const names = Object.keys(ctx.purpose === "demo" ? PACKAGES : { ...PACKAGES, ...TEST_PACKAGES });
  const missing = await notInstalled(ctx, names);
  if (missing.length === 0) return;
  ctx.log(`  Debian packages to install: ${missing.join(" ")}`);
  if (!existsSync("/usr/bin/apt-get"))
    throw new SetupError("this is no Debian: packages are missing", `install ${missing.join(" ")} by your own means`);
  await ctx.step(`Debian packages (${missing.length})`, (progress) => install(ctx, missing, policy, progress));
}

/**
 * @param {import("./context.mjs").Context} ctx
 * @param {readonly string[]} missing
 * @param {string} policy
 * @param {import("./context.mjs").Progress} progress
 */
async function install(ctx, missing, policy, progress) {
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  const mend = `sudo apt-get update && sudo apt-get install --no-install-recommends ${missing.join(" ")}`;
  const options = { root: true, env, onLine: progress };
  const apt = () =>
    ctx.run("apt-get", ["install", "-y", "-q", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120", ...missing], options);
  await forbidStarts(ctx, policy);
  try {
    await apt().catch(async (error) => {
      if (ctx.signal.aborted) throw error;
      // package lists that are absent or outdated name files that are no longer served
      await ctx.run("apt-get", ["update", "-q"], options);
      await apt();
    });
  } catch (error) {
    throw new SetupError(`Debian packages cannot be installed: ${error instanceof Error ? error.message : error}`, mend);
  } finally {
    await allowStarts(ctx, policy);
  }
  const still = await notInstalled(ctx, missing);
  if (still.length > 0) throw new SetupError(`apt-get did not install ${still.join(" ")}`, mend);
}

/**
 * @param {import("./context.mjs").Context} ctx
 * @param {readonly string[]} names
 */
async function notInstalled(ctx, names) {
  // dpkg-query fails when it does not know one of them, and still answers for the others
  const answer = await ctx.run("sh", [
    "-c",
    'dpkg-query -W -f "\\${db:Status-Status} \\${Package}\\n" "$@" 2>/dev/null || true',
    "sh",
    ...names,
  ]);
  const installed = new Set(answer.split("\n").map((line) => line.replace(/^installed /, "")));
  return names.filter((name) => !installed.has(name));
}

/**
 * Packages start what they bring unless this file says no. One that is there already may say yes: it lies aside meanwhile.
 * @param {import("./context.mjs").Context} ctx
 * @param {string} policy
 */
async function forbidStarts(ctx, policy) {
  const script = 'rm -f "$2"; if [ -e "$1" ]; then cp -a "$1" "$2"; fi; cat > "$1.new"; chmod 755 "$1.new"; mv "$1.new" "$1"';
  const input = `#!/bin/sh\n${POLICY_MARK}\nexit 101\n`;
  await ctx.run("sh", ["-ec", script, "sh", policy, asideOf(policy)], { root: true, input });
}

/**
 * As it was before {@link forbidStarts}.
 * @param {import("./context.mjs").Context} ctx
 * @param {string} policy
 */
async function allowStarts(ctx, policy) {
  if (!isOurs(policy)) return;
  const script = 'if [ -e "$2" ]; then mv "$2" "$1"; else rm "$1"; fi';
  await ctx.run("sh", ["-ec", script, "sh", policy, asideOf(policy)], { root: true });
}

/** @param {string} policy */
function isOurs(policy) {
  try {
    return readFileSync(policy, "utf8").includes(POLICY_MARK);
  } catch {
    return false; // none there, or one that only root may read, which ours is not
  }
}

/** @param {string} policy */
function asideOf(policy) {
  return `${policy}.ironwright-aside`;
}
