"""A GPU that is not there: tensors that say they are on cuda:0, hold a tensor of the processor, and refuse to be mixed.

What a real GPU refuses is refused here too: operands on two devices, a generator of one device drawing on another,
NumPy on a tensor that is not in main memory. So the code paths of a GPU run on any machine; their numbers are the
processor's.
"""
from __future__ import annotations

import torch
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

GPU = torch.device("cuda", 0)
READS = {torch.Tensor.tolist, torch.Tensor.item, torch.Tensor.__bool__, torch.Tensor.__float__, torch.Tensor.__int__}


class There(torch.Tensor):
    "A tensor on the pretended GPU."
    __torch_function__ = torch._C._disabled_torch_function_impl
    device = property(lambda self: GPU)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)

    @staticmethod
    def __new__(cls, inner, requires_grad=False):
        self = torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            requires_grad=requires_grad)
        self.inner = inner
        return self

    def __repr__(self): return f"There({self.inner})"
    def __deepcopy__(self, memo):
        new = There(self.inner.clone(), self.requires_grad)
        new._is_param = getattr(self, "_is_param", False)
        return new

    def __reduce_ex__(self, protocol): return self.inner.__reduce_ex__(protocol)  # torch.load brings it to the CPU

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        given = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, torch.Tensor)]
        if func is not torch.ops.aten.copy_.default and any(not isinstance(x, There) and x.ndim for x in given):
            raise RuntimeError(f"{func}: expected tensors on one device, found cuda:0 and cpu")
        known = {id(x.inner): x for x in given if isinstance(x, There)}
        args, kwargs = tree_map(lambda x: x.inner if isinstance(x, There) else x, (args, kwargs))
        out = func(*args, **kwargs)
        return tree_map(lambda x: known.get(id(x), There(x)) if isinstance(x, torch.Tensor) else x, out)

    def __bool__(self): return bool(self.inner)


REAL_GENERATOR = torch.Generator
REAL_CHECK = Optimizer._accelerator_graph_capture_health_check


class Generator(REAL_GENERATOR):
    "A generator of the pretended GPU; one of the processor when asked for that."
    device = property(lambda self: GPU)

    def __new__(cls, device="cpu"):
        return REAL_GENERATOR() if torch.device(device).type == "cpu" else super().__new__(cls)

    def __init__(self, device): pass


class PretendGPU(TorchFunctionMode):
    "While it lasts, cuda:0 is there."

    def __enter__(self):
        torch.Generator, self.available = Generator, torch.cuda.is_available
        torch.cuda.is_available = lambda: True
        Optimizer._accelerator_graph_capture_health_check = lambda self: None  # asks a driver
        torch.__future__.set_overwrite_module_params_on_conversion(True)  # model.to makes new parameters
        return super().__enter__()

    def __exit__(self, *error):
        torch.Generator, torch.cuda.is_available = REAL_GENERATOR, self.available
        Optimizer._accelerator_graph_capture_health_check = REAL_CHECK
        torch.__future__.set_overwrite_module_params_on_conversion(False)
        return super().__exit__(*error)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.cpu: args, kwargs, func = (args[0], "cpu"), {}, torch.Tensor.to
        if func is torch.Tensor.to: return self.move(*args, **kwargs)
        mine = args and isinstance(args[0], There)
        if func is torch.Tensor.numpy and mine: raise TypeError("can't convert cuda:0 device type tensor to numpy")
        if func in READS and mine: return func(args[0].inner, *args[1:], **kwargs)
        there = torch.device(kwargs["device"]).type == "cuda" if kwargs.get("device") is not None else mine
        generator = kwargs.get("generator")
        if generator is not None and isinstance(generator, Generator) != bool(there):
            raise RuntimeError(f"{func.__name__}: the generator is on another device than what it draws")
        if kwargs.get("device") is not None and there:
            return There(func(*args, **{**kwargs, "device": "cpu"}))
        return func(*args, **kwargs)

    @staticmethod
    def move(x, *args, **kwargs):
        "Tensor.to, as far as this package uses it."
        other = [a for a in args if isinstance(a, torch.Tensor)]
        device = [torch.device(a) for a in (*args, kwargs.get("device")) if isinstance(a, (str, torch.device))]
        dtype = [a for a in (*args, kwargs.get("dtype")) if isinstance(a, torch.dtype)]
        if other: device, dtype = [other[0].device], [other[0].dtype]
        dtype = dtype[0] if dtype else x.dtype
        if not device or device[0].type == x.device.type: return x if x.dtype == dtype else torch.Tensor.type(x, dtype)
        assert not (torch.is_grad_enabled() and x.requires_grad and x.grad_fn), "a move that autograd would have to see"
        if isinstance(x, There): return x.inner.to(dtype, copy=True)
        return There(x.detach().to(dtype, copy=True), x.requires_grad)
