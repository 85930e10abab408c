/**
 * Attention in gpu.js kernels. They read a cache's rows where a copy of them lies on the device, in the form in which the cache keeps them, and
 * fold chunks of keys with an online softmax. To the reference they are equal up to reordering. A call goes this way:
 *
 *   sizes.ts               what it is made of
 *   keys.ts                which rows its queries may see: lists of slots,
 *   mirror.ts, arena.ts      which bring what has changed of a cache's rows to the device (words.ts: as what numbers)
 *   queries.ts             its queries, as many at once as suit the device
 *   fold-on-host.ts, or    scores-source.ts, softmax, fold-sources.ts, over
 *   fold-on-gpu.ts           tiles one after the other, or all chunks side by side
 *   folded.ts              what comes of it, divided
 */
import { DeviceError, UsageError } from '../../../src/errors.js';
import { flat } from '../../../src/tensor/tensor.js';
import type { AttentionCall, AttentionKernel } from '../kernel.js';
import { Scratch } from '../scratch.js';
import { boundOf, truthBoundOf } from './bound.js';
import type { Device, DeviceArray } from './device.js';
import { type DeviceChoice, openDevice, openedDevice } from './devices.js';
import { Folded, finishInto } from './folded.js';
import { HostDevice } from './host-device.js';
import { type Reach, reach } from './keys.js';
import { type Packing, packedQueries, packingsOf } from './queries.js';
import { QUERY_FACTS } from './scores-source.js';

/** @param choice of the device, which is opened by the first call, or before it by `device` */
export function gpuKernel(choice: DeviceChoice): AttentionKernel {
  return {
    get name() {
      const device = openedDevice(choice);
      return device === null ? 'gpu' : `gpu on ${device}`;
    },
    precisions: ['float32'],
    bound: boundOf,
    truthBound: truthBoundOf,
    async device() {
      const { device, passedOver } = await openDevice(choice);
      const { name, about, software, bytes, ran, traffic } = device;
      const { compiled, compileMs } = traffic;
      return { name, about, software, bytes, ran: [...ran], passedOver, compiled, compileMs };
    },
    async attend(calls, scratch = new Scratch()) {
      const { device } = await openDevice(choice);
      await device.exclusive(async () => {
        const before = { ...device.traffic };
        for (const [i, call] of calls.entries()) {
          await (device instanceof HostDevice
            ? attendOne(device, call, i, scratch)
            : attendOne(device, call, i, scratch));
        }
        scratch.countTraffic(before, device.traffic);
      });
    },
  };
}

async function attendOne<Held extends DeviceArray>(
  device: Device<Held>,
  call: AttentionCall,
  index: number,
  scratch: Scratch,
): Promise<void> {
  expectSingle(call);
  expectExact(call);
  const groups = device.keys.groupsOf(call, index);
  for (const packing of packingsOf(call, device)) {
    await scratch.withinAwaited(async () => {
      const folded = new Folded(packing, call.out_THV.shape[2]!, scratch);
      for (const group of groups) {
        reach(group, reachOf(call, packing));
        const q = { data: packedQueries(call, packing, group.parts, scratch), dims: queryDims(call, packing) };
        await device.fold(call, packing, q, group, folded);
      }
      finishInto(call, packing, folded);
    });
  }
}

function queryDims({ q_THK }: AttentionCall, { lanes, groups, packs }: Packing): number[] {
  return [lanes, q_THK.shape[2]! + QUERY_FACTS.count, groups * packs];
}

function reachOf({ positions, visibility }: AttentionCall, { from, to }: Packing): Reach {
  return { sinks: visibility.sinks, oldest: visibility.oldest(positions[from]!), newest: positions[to - 1]! };
}

/** Positions are float32 numbers on a device, exact up to here. */
const MOST_POSITION = 2 ** 24;

function expectExact({ positions }: AttentionCall): void {
  const last = positions.at(-1) ?? 0;
  if (last <= MOST_POSITION) return;
  throw new DeviceError(
    `Kernel gpu: positions are exact up to ${MOST_POSITION}, got ${last}; choose the kernel flash.`,
  );
}

/** @throws UsageError for tensors that no device computes in */
function expectSingle({ q_THK }: AttentionCall): void {
  if (flat(q_THK) instanceof Float32Array) return;
  throw new UsageError('Kernel gpu computes in float32; for float64 choose the kernel reference or flash.');
}
