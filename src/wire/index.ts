export { hardwareText, hex, ipv4Text, isOn, type Network, parseIpv4, parseNetwork } from "./address.ts";
export { type Encoded, encodeFrame, type Frame, type Malformed, MESSAGE, OPTION, parseFrame } from "./dhcp.ts";
export { type OptionValue, optionName, readOption, writeOption } from "./dhcp-package.ts";
export { parseRelayInformation, type RelayInformation } from "./relay.ts";
export { classlessRoutes, prefixLength, type Route } from "./routes.ts";
export { encodeTftp, parseTftp, TFTP_ERROR, type TftpMalformed, type TftpPacket } from "./tftp-package.ts";
