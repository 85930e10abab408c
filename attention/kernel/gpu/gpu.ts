/**
 * Attention in gpu.js kernels. They read a cache's rows where a copy of them lies on the device, in the form in which the cache keeps them, and
 * fold chunks of keys with an online softmax. To the reference they are equal up to reordering.
 */
import { UsageError } from '../../../src/errors.js';
import { flat } from '../../../src/tensor/tensor.js';
import type { AttentionCall, AttentionKernel } from '../kernel.js';
import { Scratch } from '../scratch.js';
import { boundOf, truthBoundOf } from './bound.js';
import { type DeviceChoice, openDevice } from './devices.js';
import { foldOnGpu } from './fold-on-gpu.js';
import { foldOnHost } from './fold-on-host.js';
import { Folded, finishInto } from './folded.js';
import { HostDevice } from './host-device.js';
import { type Reach, reach } from './keys.js';
import { type Packing, packedQueries, packingsOf } from './queries.js';
import { QUERY_FACTS } from './scores-source.js';
import type { WebGpu } from './webgpu-device.js';

/** @param choice of the device, which is opened by the first call, or before it by `device` */
export function gpuKernel(choice: DeviceChoice): AttentionKernel {
  return {
    name: 'gpu',
    precision: 'float32',
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
        for (const [i, call] of calls.entries()) await attendOne(device, call, i);
        scratch.countTraffic(before, device.traffic);
      });
    },
  };
}

function attendOne(device: HostDevice | WebGpu, call: AttentionCall, index: number): Promise<void> {
  expectSingle(call);
  return device instanceof HostDevice ? attendOnHost(device, call, index) : attendOnGpu(device, call, index);
}

async function attendOnHost(device: HostDevice, call: AttentionCall, index: number): Promise<void> {
  const groups = device.keys.groupsOf(call, index);
  for (const packing of packingsOf(call, device)) {
    const folded = new Folded(packing, call.out_THV.shape[2]!);
    for (const group of groups) {
      reach(group, reachOf(call, packing));
      const q = { data: packedQueries(call, packing, group.parts), dims: queryDims(call, packing) };
      foldOnHost(device, call, packing, q, group, folded);
    }
    finishInto(call, packing, folded);
  }
}

async function attendOnGpu(device: WebGpu, call: AttentionCall, index: number): Promise<void> {
  const { queries } = device;
  const groups = device.keys.groupsOf(call, index);
  for (const packing of packingsOf(call, device)) {
    const folded = new Folded(packing, call.out_THV.shape[2]!);
    for (const group of groups) {
      reach(group, reachOf(call, packing));
      const packed = packedQueries(call, packing, group.parts);
      if (packed.length > queries.length) queries.resize(packed.length, 0);
      queries.write(0, packed);
      await foldOnGpu(device, call, packing, queries.view(queryDims(call, packing)), group, folded);
    }
    finishInto(call, packing, folded);
  }
}

function queryDims({ q_THK }: AttentionCall, { lanes, groups, packs }: Packing): number[] {
  return [lanes, q_THK.shape[2]! + QUERY_FACTS.count, groups * packs];
}

function reachOf({ positions, visibility }: AttentionCall, { from, to }: Packing): Reach {
  return { sinks: visibility.sinks, oldest: visibility.oldest(positions[from]!), newest: positions[to - 1]! };
}

/** @throws UsageError for tensors that no device computes in */
function expectSingle({ q_THK }: AttentionCall): void {
  if (flat(q_THK) instanceof Float32Array) return;
  throw new UsageError('Kernel gpu computes in float32; for float64 choose the kernel reference or flash.');
}
