import { join } from "node:path";

/** Where everything of a rack lies in its directory. */
export function rackPaths(directory: string) {
  return {
    /** What this rack made on the host; written before it is made. */
    record: join(directory, "rack.json"),
    /** Says that the directory was made for a rack, even one that is down and kept. */
    mark: join(directory, ".ironwright-rack"),
    /** What the chassis runs. */
    chassis: join(directory, "chassis.json"),
    chassisLog: join(directory, "chassis.log"),
    socket: join(directory, "chassis.sock"),
    server: (name: string) => serverPaths(join(directory, name)),
  };
}

export function serverPaths(directory: string) {
  return {
    directory,
    disk: (index: number) => join(directory, `disk-${index}.raw`),
    /** UEFI's variables, this server's own copy. */
    vars: join(directory, "vars.fd"),
    /** All the serial console ever said. */
    consoleLog: join(directory, "console.log"),
    /** The serial console itself: `socat - UNIX-CONNECT:…`. */
    console: join(directory, "console.sock"),
    firmwareLog: join(directory, "firmware.log"),
    qmp: join(directory, "qmp.sock"),
    qemuLog: join(directory, "qemu.log"),
    /** QEMU's process, so that `rack down` finds it whatever happened to the chassis. */
    process: join(directory, "qemu.json"),
    /** Power wanted and boot override: what a BMC remembers. */
    state: join(directory, "state.json"),
    certificate: join(directory, "bmc.crt"),
    key: join(directory, "bmc.key"),
  };
}

export type RackPaths = ReturnType<typeof rackPaths>;
export type ServerPaths = ReturnType<typeof serverPaths>;
