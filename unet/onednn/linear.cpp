// Linear layers by oneDNN, with what follows them done while the results are still in the registers. libtorch
// has this as operators for its compiler, `mkldnn::_linear_pointwise`, which tch does not name.

#include <ATen/core/List.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <optional>
#include <string_view>

namespace {

using Plain = at::Tensor(
    const at::Tensor &, const at::Tensor &, const std::optional<at::Tensor> &, std::string_view,
    c10::List<std::optional<at::Scalar>>, std::optional<std::string_view>);
using Binary = at::Tensor(
    const at::Tensor &, const at::Tensor &, const at::Tensor &, const std::optional<at::Tensor> &, std::string_view);

template <class Signature>
std::optional<c10::TypedOperatorHandle<Signature>> find(const char *overload) {
    auto found = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", overload});
    if (!found || !found->hasKernelForDispatchKey(c10::DispatchKey::CPU)) {
        return std::nullopt;
    }
    // Throws where the operator's signature is another one.
    return found->typed<Signature>();
}

template <class Signature>
const std::optional<c10::TypedOperatorHandle<Signature>> &found(const char *overload) {
    static const auto handle = [overload]() -> std::optional<c10::TypedOperatorHandle<Signature>> {
        try {
            return find<Signature>(overload);
        } catch (...) {
            return std::nullopt;
        }
    }();
    return handle;
}

} // namespace

extern "C" {

// x [.., in] · weight [out, in]ᵀ + bias [out]; then, by `follow`: 0 nothing, 1 GELU, 2 `other` is added, 3 `other` is
// multiplied in. `bias` and `other` may be null. Null where the operator is missing or fails.
at::Tensor *imagine_linear(
    const at::Tensor *x, const at::Tensor *weight, const at::Tensor *bias, const at::Tensor *other, int follow) {
    try {
        std::optional<at::Tensor> added;
        if (bias) {
            added = *bias;
        }
        if (follow >= 2) {
            const auto &binary = found<Binary>("binary");
            if (!binary || !other) {
                return nullptr;
            }
            return new at::Tensor(binary->call(*x, *other, *weight, added, follow == 2 ? "add" : "mul"));
        }
        const auto &plain = found<Plain>("");
        if (!plain) {
            return nullptr;
        }
        const c10::List<std::optional<at::Scalar>> none;
        return new at::Tensor(plain->call(*x, *weight, added, follow == 1 ? "gelu" : "none", none, "none"));
    } catch (...) {
        return nullptr;
    }
}
}
