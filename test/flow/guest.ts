import { execFileSync, spawn } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import type { Peers } from "../bench/peers.ts";
import { ended } from "./boot-network.ts";

/** A machine of a test's own, in QEMU without KVM: Debian's kernel, cgroup version 2 alone, busybox, and a shell that the test talks to. */
export interface Guest {
  /** What a shell script prints, both streams; throws with that where it fails, or does not end in time. */
  run(script: string, deadlineMs?: number): Promise<string>;
  /** All that its kernel said. */
  console(): string;
  end(): Promise<void>;
}

export interface GuestOptions {
  /** What `linux-image-cloud-amd64` unpacks to. */
  readonly peers: Peers;
  /** Modules that can be loaded in it, besides those of its disk. */
  readonly modules: readonly string[];
  /** What else is in it, by where it is there: programs of this machine. */
  readonly programs: Readonly<Record<string, string>>;
  readonly memoryMiB: number;
  /** Sizes in MiB, by the name that each has as a file in the directory. The first is an ext4 at /disk. */
  readonly disks: Readonly<Record<string, number>>;
  /** Of the test's own. */
  readonly directory: string;
}

const STARTED_WITHIN_MS = 180_000;
/** All TCG can, but what makes it slow. */
const CPU = "max,-erms,-fsrm,-la57,-smap,-smep,-pku";
const DISK_MODULES = ["virtio_pci", "virtio_blk", "ext4"];

/** No pivot_root(2) from an initramfs, which is the first of all roots: it is left for one like it. */
const INIT = `#!/bin/busybox sh
b=/bin/busybox
$b mkdir -p /root && $b mount -t tmpfs root /root && $b cp -a /bin /lib /sbin /guest /root && exec $b switch_root /root /guest
`;

/** Each line is a script in base64, and each answer its exit status and output. */
const GUEST = `#!/bin/busybox sh
/bin/busybox mkdir -p /dev /proc /sys /tmp /run /disk
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev && mount -t proc proc /proc && mount -t sysfs sys /sys && mount -t cgroup2 cgroup2 /sys/fs/cgroup
modprobe -a ${DISK_MODULES.join(" ")} && mount -t ext4 /dev/vda /disk
stty -F /dev/ttyS1 raw -echo && exec < /dev/ttyS1 > /dev/ttyS1
echo started
while read -r line; do
  said=$(echo "$line" | base64 -d | sh 2>&1)
  echo "$? $(echo "$said" | base64 -w 0)"
done
`;

/** Boots it and waits until it answers. */
export async function bootGuest(options: GuestOptions): Promise<Guest> {
  const { peers, memoryMiB, disks, directory } = options;
  const at = (name: string) => join(directory, name);
  const release = readdirSync(peers.file("/lib/modules")).find((name) => name.includes("cloud"));
  if (release === undefined) throw new Error("the package has no kernel");
  makeInitramfs(options, release, at("initrd"));
  for (const [name, size] of Object.entries(disks)) {
    writeFileSync(at(name), "");
    truncateSync(at(name), size * 2 ** 20);
  }
  execFileSync("mke2fs", ["-q", "-F", "-t", "ext4", at(Object.keys(disks)[0] ?? "")]);
  const child = spawn(
    "qemu-system-x86_64",
    [
      ...["-machine", "pc,graphics=off", "-accel", "tcg,thread=multi", "-cpu", CPU, "-smp", "1", "-m", String(memoryMiB)],
      ...["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
      ...["-kernel", peers.file(`/boot/vmlinuz-${release}`), "-initrd", at("initrd")],
      ...["-append", "console=ttyS0 panic=-1 mitigations=off nokaslr"],
      ...Object.keys(disks).flatMap((name) => ["-drive", `if=virtio,format=raw,file=${at(name)}`]),
      ...["-serial", `file:${at("console")}`, "-serial", "stdio"],
    ],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  const console = () => (existsSync(at("console")) ? readFileSync(at("console"), "latin1") : "");
  const answers: ((line: string) => void)[] = [];
  createInterface(child.stdout).on("line", (line) => answers.shift()?.(line));

  function answer(what: string, deadlineMs: number): Promise<string> {
    return new Promise((resolve, reject) => {
      const fail = (why: string) => reject(new Error(`${why}: ${what.slice(0, 200)}\n${console().slice(-2000)}`));
      const late = setTimeout(() => fail(`not within ${deadlineMs / 1000} s`), deadlineMs);
      const gone = () => fail("the guest ended");
      child.once("exit", gone);
      answers.push((line) => {
        clearTimeout(late);
        child.off("exit", gone);
        resolve(line);
      });
    });
  }

  await answer("its start", STARTED_WITHIN_MS).catch(async (error: unknown) => {
    await ended(child);
    throw error;
  });
  return {
    async run(script, deadlineMs = 60_000) {
      const answered = answer(script, deadlineMs);
      child.stdin.write(`${Buffer.from(script).toString("base64")}\n`);
      const [status, said = ""] = (await answered).split(" ");
      const text = Buffer.from(said, "base64").toString("utf8").trim();
      if (status !== "0") throw new Error(`${script.slice(0, 200)}\nends with ${status}: ${text}`);
      return text;
    },
    console,
    end: () => ended(child),
  };
}

function makeInitramfs({ peers, modules, programs, directory }: GuestOptions, release: string, to: string): void {
  const root = join(directory, "root");
  const place = (path: string) => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    return join(root, path);
  };
  writeFileSync(place("/init"), INIT, { mode: 0o755 });
  writeFileSync(place("/guest"), GUEST, { mode: 0o755 });
  for (const [path, from] of Object.entries({ "/bin/busybox": "/bin/busybox", ...programs })) {
    copyFileSync(from, place(path));
    chmodSync(join(root, path), 0o755);
  }
  // where the kernel looks for modprobe
  execFileSync("ln", ["-s", "bin", place("/sbin")]);

  // links to all of the kernel's modules, whose dependencies are found without writing among them
  const all = join(directory, "modules");
  mkdirSync(join(all, "lib/modules"), { recursive: true });
  execFileSync("cp", ["-rs", join(peers.file("/lib/modules"), release), join(all, "lib/modules/")]);
  execFileSync("depmod", ["-b", all, release]);
  const wanted = ["-d", all, "-S", release, "--show-depends", "-a", ...DISK_MODULES, ...modules];
  const lines = execFileSync("modprobe", wanted, { encoding: "utf8" }).split("\n");
  for (const file of lines.flatMap((line) => /^insmod (\S+)/.exec(line)?.[1] ?? []))
    copyFileSync(file, place(file.slice(file.indexOf("/lib/modules/"))));
  for (const file of ["modules.order", "modules.builtin", "modules.builtin.modinfo"])
    copyFileSync(join(all, "lib/modules", release, file), place(`/lib/modules/${release}/${file}`));
  execFileSync("depmod", ["-b", root, release]);
  execFileSync("sh", ["-c", 'cd "$1" && find . | cpio -o -H newc --quiet > "$2"', "sh", root, to]);
}
