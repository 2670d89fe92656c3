"""Python diffusers on the workload of `imagine bench`, measured the same way.

One process, one JSON object on stdout with the keys of `imagine bench --json`. Versions: requirements.txt.
"""
import argparse
import json
import os
import statistics
import time


def process_age():
    """Seconds since this process was started, interpreter and imports included."""
    with open('/proc/self/stat') as file:
        fields = file.read().rsplit(')', 1)[1].split()
    with open('/proc/uptime') as file:
        uptime = float(file.read().split()[0])
    return uptime - int(fields[19]) / os.sysconf('SC_CLK_TCK')


def peak_memory():
    """Bytes of the largest resident set."""
    with open('/proc/self/status') as file:
        line = next(line for line in file if line.startswith('VmHWM:'))
    return int(line.split()[1]) * 1024


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--model', required=True)
    parser.add_argument('--size', required=True)
    parser.add_argument('--steps', type=int, required=True)
    parser.add_argument('--guidance', type=float, required=True)
    parser.add_argument('--pictures', type=int, required=True)
    parser.add_argument('--dtype', choices=['f32', 'bf16', 'f16'], required=True)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--threads', type=int, default=0)
    args = parser.parse_args()
    width, height = map(int, args.size.split('x'))

    import torch
    from diffusers import DiffusionPipeline

    if args.threads:
        torch.set_num_threads(args.threads)
    dtype = {'f32': torch.float32, 'bf16': torch.bfloat16, 'f16': torch.float16}[args.dtype]
    started = time.perf_counter()
    pipe = DiffusionPipeline.from_pretrained(args.model, torch_dtype=dtype, local_files_only=True).to(args.device)
    pipe.set_progress_bar_config(disable=True)
    load_seconds = time.perf_counter() - started

    def now():
        if args.device.startswith('cuda'):
            torch.cuda.synchronize()
        return time.perf_counter()

    ages, first, steps, decodes, pictures = [], [], [], [], []
    state = {}

    def before_unet(module, inputs):
        # The first evaluation of a picture: conditions are encoded, the run begins.
        if state['last'] is None:
            state['last'] = now()
            ages.append(process_age())

    pipe.unet.register_forward_pre_hook(before_unet)

    def on_step(pipe, step, timestep, values):
        passed, state['last'] = now() - state['last'], now()
        (first if step == 0 else steps).append(passed)
        return values

    for seed in range(args.pictures):
        state['last'] = None
        asked = now()
        pipe(
            'a portrait of a person', width=width, height=height, num_inference_steps=args.steps,
            guidance_scale=args.guidance, generator=torch.Generator('cpu').manual_seed(seed),
            callback_on_step_end=on_step,
        )
        done = now()
        decodes.append(done - state['last'])
        pictures.append(done - asked)
    on_gpu = None
    if args.device.startswith('cuda'):
        free, total = torch.cuda.mem_get_info(args.device)
        on_gpu = total - free
    print(json.dumps({
        'model': os.path.basename(args.model), 'device': args.device, 'dtype': args.dtype,
        'threads': torch.get_num_threads(), 'width': width, 'height': height, 'steps': args.steps,
        'guidance_scale': args.guidance, 'pictures': args.pictures, 'cold_start_seconds': ages[0],
        'load_seconds': load_seconds, 'first_step_seconds': statistics.median(first),
        'step_seconds': statistics.median(steps), 'decode_seconds': statistics.median(decodes),
        'picture_seconds': statistics.median(pictures), 'peak_memory_bytes': peak_memory(),
        'gpu_memory_bytes': on_gpu,
    }))


if __name__ == '__main__':
    main()
