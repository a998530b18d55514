// SPDX-License-Identifier: Apache-2.0
#include "experts/cuda/dense_products.h"

#include <algorithm>

#include "base/format.h"
#include "experts/cuda/product_check.h"

namespace unmask::experts::cuda {
namespace {

constexpr std::int64_t kWorkspaceBytes = std::int64_t{32} << 20;  // what cuBLAS recommends for Hopper
constexpr std::int64_t kMostTested = 4;                           // algorithms; each takes some dozens of products

/// Row counts that an algorithm must be able to do: all small ones, then multiples of 64 and the most.
std::vector<std::int64_t> counts_to_serve(std::int64_t most_rows) {
  std::vector<std::int64_t> counts;
  for (std::int64_t rows = 1; rows < most_rows; rows += rows < 64 ? 1 : 64) {
    counts.push_back(rows);
  }
  counts.push_back(most_rows);
  return counts;
}

}  // namespace

void DenseProducts::start() {
  if (!handle_) {
    handle_ = make_library_handle();
    workspace_.grow(kWorkspaceBytes);
  }
}

bool DenseProducts::prepare(const Plan& plan, cudaStream_t stream) {
  const auto known = pinned_.find(plan.shape);
  if (known != pinned_.end()) {
    return known->second.has_value();
  }
  start();
  std::string said;
  std::optional<Pinned> found = search(plan, stream, said);
  log_.push_back(format("dense product n {} k {} {}: {}{}", plan.shape.n, plan.shape.k,
                        plan.shape.store == DenseProblem::Store::kAdd ? "added" : "written",
                        found ? "cuBLASLt " + describe(found->algorithm) : std::string("own kernel"), said));
  return pinned_.emplace(plan.shape, std::move(found)).first->second.has_value();
}

std::optional<DenseProducts::Pinned> DenseProducts::search(const Plan& plan, cudaStream_t stream, std::string& said) {
  LibraryProduct product(plan.shape);
  const auto offers = product.offered(handle_.get(), plan.most_rows, workspace_.bytes());
  if (offers.empty()) {
    said += "; cuBLASLt offers nothing";
  }
  std::int64_t tested = 0;
  for (const OfferedAlgorithm& offer : offers) {
    std::string refused = offer.refused;
    if (refused.empty()) {
      if (tested++ == kMostTested) {
        said += "; no more were tested";
        break;
      }
      refused = objection(plan, product, offer.algorithm, stream);
    }
    if (refused.empty()) {
      return Pinned{std::move(product), offer.algorithm, plan.most_rows};
    }
    said += format("; not {}: {}", describe(offer.algorithm), refused);
  }
  return std::nullopt;
}

std::string DenseProducts::objection(const Plan& plan, const LibraryProduct& product, const cublasLtMatmulAlgo_t& algorithm, cudaStream_t stream) {
  for (const std::int64_t rows : counts_to_serve(plan.most_rows)) {
    if (!product.serves(handle_.get(), algorithm, rows, workspace_.bytes())) {
      return format("cannot do {} rows", rows);
    }
  }
  const auto multiply = [&](const bfloat16* x, std::int64_t rows, float* y) {
    product.run(handle_.get(), algorithm,
                {.x = x, .w = plan.w, .rows = rows, .y = y, .workspace = workspace_.data(), .workspace_bytes = workspace_.bytes()}, stream);
  };
  return check_product({.shape = plan.shape, .w = plan.w, .most_rows = plan.most_rows, .multiply = multiply}, stream);
}

void DenseProducts::multiply(const DenseProblem& p, cudaStream_t stream) {
  const auto found = p.x.precision == Precision::kBfloat16
                         ? pinned_.find({.n = p.n, .k = p.k, .y_stride = p.y_stride, .store = p.store})
                         : pinned_.end();
  if (found == pinned_.end() || !found->second) {
    cuda::multiply(p, stream);
    return;
  }
  const Pinned& pinned = *found->second;
  for (std::int64_t begin = 0; begin < p.rows.most; begin += pinned.most_rows) {
    pinned.product.run(handle_.get(), pinned.algorithm,
                       {.x = static_cast<const bfloat16*>(p.x.data) + begin * p.k, .w = p.w, .rows = std::min(pinned.most_rows, p.rows.most - begin),
                        .y = p.y + begin * p.y_stride, .workspace = workspace_.data(), .workspace_bytes = workspace_.bytes()},
                       stream);
  }
}

}  // namespace unmask::experts::cuda
