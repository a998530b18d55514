// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/chat/operations.h"
#include "runtime/chat/value.h"

// The tree of a template. It is at most kMaxDepth deep (the parser sees to it), so that evaluating and destroying it may recurse.
namespace unmask::runtime::chat {

enum class ExprKind {
  kConstant,    ///< constant
  kName,        ///< name
  kList,        ///< children: items
  kTuple,       ///< children: items
  kDict,        ///< children: key, value, key, value, ...
  kAttribute,   ///< children: object; name
  kSubscript,   ///< children: object, index
  kSlice,       ///< children: object, start, stop, step (null where left out)
  kCall,        ///< children: callee, arguments; keywords
  kFilter,      ///< children: input (null in a filter on a block), arguments; keywords; name
  kTest,        ///< children: input, arguments; keywords; name
  kNot,         ///< children: operand
  kNegate,      ///< children: operand
  kPlus,        ///< children: operand
  kAnd,         ///< children: left, right
  kOr,          ///< children: left, right
  kArithmetic,  ///< children: left, right; operators[0]
  kConcat,      ///< children: parts
  kCompare,     ///< children: operands; operators between them
  kCondition,   ///< children: condition, then, else (null where left out)
};

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

struct Keyword {
  std::string name;
  ExprPtr value;
};

struct Expr {
  ExprKind kind = ExprKind::kConstant;
  int line = 0;
  int depth = 1;
  std::string name;
  Value constant;
  std::vector<ExprPtr> children;
  std::vector<Keyword> keywords;
  std::vector<Operator> operators;
};

/// What a for or set assigns to: a name, a namespace's attribute (`name.attribute`), or a tuple of targets.
struct Target {
  std::string name;
  std::string attribute;
  std::vector<Target> parts;
};

enum class StmtKind {
  kText,      ///< text
  kOutput,    ///< expression
  kIf,        ///< branches
  kFor,       ///< target, expression (what is iterated), condition (may be null), body, otherwise
  kSet,       ///< target, expression
  kSetBlock,  ///< target, expression (filters on the body, may be null), body
  kScope,     ///< body: names set inside are gone afterwards
  kBreak,
  kContinue,
};

struct Stmt;
using Body = std::vector<Stmt>;

struct Branch {
  ExprPtr condition;  ///< null: else
  Body body;
};

struct Stmt {
  StmtKind kind = StmtKind::kText;
  int line = 0;
  Text text;
  Target target;
  ExprPtr expression;
  ExprPtr condition;
  Body body;
  Body otherwise;
  std::vector<Branch> branches;
};

}  // namespace unmask::runtime::chat
