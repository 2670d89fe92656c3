"""Holds numpy and llvmpipe to one thread each, so that one process uses one core.  Import it before anything else."""

import os

for variable in ('LP_NUM_THREADS', 'OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS'):
    os.environ.setdefault(variable, '1')
