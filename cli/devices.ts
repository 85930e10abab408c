import { type Command, Option } from 'commander';
import { DEVICE_NAMES, type DeviceName } from '../attention/kernel/gpu/device.js';
import { openDevice } from '../attention/kernel/gpu/devices.js';
import { gpuKernel } from '../attention/kernel/gpu/gpu.js';
import { DeviceError, UsageError } from '../src/errors.js';
import { TEST_SHAPE, type TestCase, testCases } from '../src/reference/device-case.js';
import { testDevice } from '../src/reference/device-test.js';
import { type Automatic, type ListedDevice, listText, type Tested, testText, withSpeed } from './devices-text.js';
import { newCommand, pause, positive } from './options.js';

interface Flags {
  readonly device?: DeviceName;
  readonly seconds?: number;
  readonly test: boolean;
  readonly json?: true;
}

export function devicesCommand(): Command {
  return newCommand('devices')
    .description('list what this machine offers to the kernel gpu, and test each: its error, and how fast it reads')
    .addOption(
      new Option('--device <device>', 'only this one; it is an error if it cannot be had').choices(DEVICE_NAMES),
    )
    .option('--seconds <s>', 'how long each device is tested (default: 1)', positive)
    .option('--no-test', 'only list them')
    .option('--json', 'print one JSON object')
    .action(run);
}

async function run({ device: only, seconds: given, test, json }: Flags): Promise<void> {
  if (!test && given !== undefined) {
    throw new UsageError('--seconds: with --no-test nothing is measured; leave one out.');
  }
  const listed = await Promise.all((only ? [only] : DEVICE_NAMES).map((name) => found(name, only !== undefined)));
  const automatic = only ? null : await automaticOf();
  if (!json) process.stdout.write(listText(listed, automatic));
  const seconds = given ?? 1;
  const tested = test ? await testedOf(listed, seconds) : [];
  if (json) process.stdout.write(`${JSON.stringify(jsonOf(listed, automatic, test ? { seconds, tested } : null))}\n`);
  else if (test) process.stdout.write(`\n${testText(tested, seconds)}`);
  expectPassed(tested);
}

/** @throws DeviceError if a test has failed */
function expectPassed(tested: readonly Tested[]): void {
  const wrong = tested.filter(({ passed }) => !passed).map(({ name }) => name);
  if (wrong.length === 0) return;
  throw new DeviceError(
    `The self-test fails on ${wrong.join(', ')}: what is computed there is wrong; choose another --device.`,
  );
}

/** @throws DeviceError if it must be had, and cannot be */
async function found(name: DeviceName, required: boolean): Promise<ListedDevice> {
  try {
    const { about, software } = (await openDevice(name, !required)).device;
    return { name, available: true, about, software };
  } catch (error) {
    if (required || !(error instanceof DeviceError)) throw error;
    return { name, available: false, reason: error.message };
  }
}

/** What `--device auto` comes to; null: there is no device at all. */
async function automaticOf(): Promise<Automatic | null> {
  try {
    const { device, passedOver } = await openDevice('auto');
    return { name: device.name, passedOver };
  } catch (error) {
    if (error instanceof DeviceError) return null;
    throw error;
  }
}

async function testedOf(listed: readonly ListedDevice[], seconds: number): Promise<Tested[]> {
  const available = listed.filter((device) => device.available);
  const cases = available.length > 0 ? await testCases(TEST_SHAPE, pause) : [];
  const tested: Tested[] = [];
  for (const { name } of available) tested.push(await testedOn(name, cases, seconds));
  return tested;
}

/** A device that breaks down has failed its test, and the others are tested all the same. */
async function testedOn(name: DeviceName, cases: readonly TestCase[], seconds: number): Promise<Tested> {
  const kernel = gpuKernel(name);
  const ran = async () => (await kernel.device!()).ran;
  try {
    const checks = await testDevice(kernel, cases, seconds, pause);
    return { name, ran: await ran(), checks, failure: null, passed: checks.every(({ passed }) => passed) };
  } catch (error) {
    return { name, ran: await ran(), checks: [], failure: (error as Error).message, passed: false };
  }
}

function jsonOf(
  listed: readonly ListedDevice[],
  automatic: Automatic | null,
  test: { readonly seconds: number; readonly tested: readonly Tested[] } | null,
) {
  const devices = listed.map((device) => {
    const tested = test?.tested.find(({ name }) => name === device.name);
    return { ...device, test: tested && { ...tested, checks: tested.checks.map(withSpeed) } };
  });
  return { automatic, testCase: test && { ...TEST_SHAPE, seconds: test.seconds }, devices };
}
