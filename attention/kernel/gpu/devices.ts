/** The devices of this process. Each is opened when it is first asked for, and shared. */
import { DeviceError } from '../../../src/errors.js';
import { DEVICE_NAMES, type DeviceName } from './device.js';
import { HostDevice } from './host-device.js';
import { WebGpu } from './webgpu-device.js';

/** `auto`: a GPU that is one, else WebAssembly, else JavaScript. */
export type DeviceChoice = DeviceName | 'auto';

export const DEVICE_CHOICES = ['auto', ...DEVICE_NAMES] as const satisfies readonly DeviceChoice[];

/** A device that was had, and for `auto` why not one before it. */
export interface Found {
  readonly device: HostDevice | WebGpu;
  readonly passedOver: readonly string[];
}

/** A process has one WebGPU device, and compiled kernels serve all models. */
const opened = new Map<DeviceName, Promise<HostDevice | WebGpu>>();
let automatic: Promise<Found> | null = null;
let automaticName: DeviceName | null = null;

/**
 * @param quietly a driver that is missing may not be heard of on standard error: nobody has asked for this device
 * @throws DeviceError, saying why and what would help, if it cannot be had
 */
export async function openDevice(choice: DeviceChoice, quietly = choice === 'auto'): Promise<Found> {
  if (choice !== 'auto') return { device: await open(choice, quietly), passedOver: [] };
  automatic ??= first().catch((error) => {
    automatic = null;
    throw error;
  });
  automaticName = (await automatic).device.name;
  return automatic;
}

async function first(): Promise<Found> {
  const passedOver: string[] = [];
  for (const name of DEVICE_NAMES) {
    try {
      const device = await open(name, true);
      if (name !== 'webgpu' || !device.software) return { device, passedOver };
      passedOver.push(`webgpu is software here (${device.about})`); // it stays open: others may have asked for it
    } catch (error) {
      if (!(error instanceof DeviceError)) throw error;
      passedOver.push(error.message);
    }
  }
  throw new DeviceError(`There is no device for gpu.js kernels: ${passedOver.join(' ')}`);
}

function open(name: DeviceName, quietly: boolean): Promise<HostDevice | WebGpu> {
  const known = opened.get(name);
  if (known) return known;
  const device: Promise<HostDevice | WebGpu> = name === 'webgpu' ? WebGpu.open(quietly) : HostDevice.open(name);
  opened.set(name, device);
  device.catch(() => opened.delete(name)); // it may be there when it is asked for again
  return device;
}

/** The device that a choice has come to; null: it has not been opened. */
export function openedDevice(choice: DeviceChoice): DeviceName | null {
  return choice === 'auto' ? automaticName : choice;
}

/** Closes all devices, one that is being opened as soon as it is. Before a Node process ends that has used WebGPU: Dawn may crash otherwise. */
export async function closeDevices(): Promise<void> {
  const devices = await Promise.allSettled([...opened.values()]);
  opened.clear();
  automatic = null;
  automaticName = null;
  for (const each of devices) if (each.status === 'fulfilled') await each.value.close();
}
