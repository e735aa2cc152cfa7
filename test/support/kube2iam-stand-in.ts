// In place of kube2iam's own program where that is not available: its redirect, appended once and never removed, and no guard.
// The work behind is done by our own, whose bundle is the first argument.
import { spawnSync } from 'node:child_process';

const [bundle = ''] = process.argv.splice(2, 1);
const flags = process.argv.slice(2);
const flag = (name: string): string => flags.find((word) => word.startsWith(`--${name}=`))?.split('=')[1] ?? '';
const rule = ['PREROUTING', '-p', 'tcp', '-d', '169.254.169.254', '--dport', '80', '-j', 'DNAT'];
rule.push('--to-destination', `${flag('host-ip')}:${flag('app-port')}`, '-i', flag('host-interface'));
const iptables = (how: string): number | null => spawnSync('iptables', ['-w', '-t', 'nat', how, ...rule]).status;
if (iptables('-C') !== 0) iptables('-A');
process.argv.splice(2, flags.length, ...flags.filter((word) => !word.startsWith('--iptables')));
await import(bundle);
