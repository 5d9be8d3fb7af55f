"""The ONNX operators that Ascend's tools document as supported. Only published lists, each with its source.

Not found in public sources: the lists of CANN before 5.0.4 (the first images for the Atlas 200 DK). ATC decides
in the end: an operator on its list may still have no kernel for a type or shape on a chip.
"""

from typing import Dict, FrozenSet, NamedTuple, Tuple


class ToolList(NamedTuple):
    """What one release of a tool accepts."""

    source: str
    operators: FrozenSet[str]
    """Their `folded` names."""
    opsets: Tuple[int, int]
    """Lowest and highest opset of the domain ai.onnx."""


def folded(name: str) -> str:
    """An operator's name as it is looked up: the vendor's documents write Argmax and LogSoftMax."""
    return name.lower()


def _names(text: str) -> FrozenSet[str]:
    return frozenset(map(folded, text.split()))


_ATC_5 = _names("""
    Abs Acos Acosh AdaptiveAvgPool2D AdaptiveMaxPool2D Add Addcmul AffineGrid And Argmax AscendRequantS16 AscendRequant
    AscendQuant AscendDequantS16 AscendDequant AscendAntiQuant Asin Asinh Atan Atanh AveragePool BatchNormalization
    BatchMatMul BatchMultiClassNMS BitShift Cast Ceil Celu Clip Concat ConvTranspose Cumsum Conv Compress Constant
    ConstantOfShape Cos Cosh DeformableConv2D Det DepthToSpace Div Dropout Elu EmbeddingBag Equal Erf Exp Expand EyeLike
    Flatten Floor Gather GatherND GatherElements Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater
    GreaterOrEqual HardSigmoid Hardmax HardSwish Identity If InstanceNormalization Less LeakyRelu LessOrEqual Log
    LogSoftMax LpNormalization LpPool LRN LSTM MatMul Max MaxPool MaxRoiPool MaxUnpool Mean MeanVarianceNormalization
    Min Mod Mul Multinomial Neg NonMaxSuppression NonZero Not OneHot Or RandomNormalLike RandomUniformLike RandomUniform
    Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMin ReduceMean ReduceProd ReduceSumSquare
    Resize Relu ReduceSum ReduceMax Reshape ReverseSequence RoiExtractor RoiAlign Round PRelu Scatter ScatterElements
    ScatterND Shrink Selu Shape Sigmoid Slice Softmax Softsign Softplus SpaceToDepth Split Sqrt Squeeze Sub Sign Sin
    Sinh Size Sum Tanh TfIdfVectorizer Tile ThresholdedRelu TopK Transpose Pad Pow Unsqueeze Where Xor
""")

_ATC_8 = _names("""
    Abs Acos Acosh AdaptiveAvgPool2D Add AffineGrid And Argmax AscendAntiQuant AscendQuant Asin Asinh Atan Atanh
    AveragePool BatchNormalization BatchMultiClassNMS BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast Ceil Celu
    Clip Compress Concat Constant ConstantOfShape Conv ConvTranspose Corr Cos Cosh Cumsum DeformableConv2D DepthToSpace
    Det Div Dropout DynSeqOuter Einsum Elu EmbeddingBag Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements
    GatherND Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample GRU Hardmax HardSigmoid
    HardSwish Identity If InstanceNormalization IsInf IsNaN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftMax
    LpNormalization LpPool LRN LSTM LSTMP MatMul Max MaxPool MaxRoiPool MaxUnpool Mean MeanVarianceNormalization Min Mod
    MovingSumWithSigmoid Mul Multinomial Neg NonMaxSuppression NonZero Not OneHot Or Pad Pow RandomNormal
    RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp
    ReduceMean ReduceMin ReduceProd ReduceSumSquare ReduceSum ReduceMax Relu Reshape Resize ReverseSequence RoiAlign
    RoiExtractor Round PRelu Scatter ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice
    Softmax SoftmaxCrossEntropyLoss Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh TfIdfVectorizer
    ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Where Xor
""")

ATC: Dict[str, ToolList] = {
    "CANN 5 and 6": ToolList(
        "'CANN Caffe/TensorFlow/ONNX 算子规格清单' 5.0.4.6, operatorlist_0071; opsets v9-v13 in 'ONNX算子规格', "
        "atlasatc_16_0164 (5.0.4.6) and atctool_0178 (6.0.1), hiascend.com",
        _ATC_5,
        (9, 13),
    ),
    "CANN 7 and later": ToolList(
        "'支持ONNX算子清单' 8.0.0, operatorlist_00176; opsets v9-v18 in 'ONNX算子规格', atlasatc_16_0201 (7.0.0), "
        "hiascend.com; 8.0 has them for each operator: github hicann/ops-nn e5c3fa9, hicann/ops-math c419332 register "
        "all that SonicNet has for 8 to 18, and AscendDequant",
        _ATC_8,
        (9, 18),
    ),
}

AMCT_QAT = ("Conv", "Gemm", "ConvTranspose", "MatMul", "Add")
"""Layers whose Q/DQ pairs `amct_onnx.convert_qat_model` takes ("QAT Model Adaptation to CANN Format", CANN 8.2 to 9.1,
atlasamct_16_0148)."""
AMCT_PER_CHANNEL = ("Conv", "ConvTranspose")
"""Of these, those whose weights may have a scale for each channel (the same page since CANN 8.2; 8.0 does not say)."""
AMCT_OPSETS = (8, 14)
"""Operators of ai.onnx in opset v8 to v14 ("AMCT(ONNX)", CANN 9.0, atlasamct_16_0017); v8 to v13 with onnx 1.8, which
goes with Python 3.7. Its page of `create_quant_config` still says opset 11 (8.0, atlasamct_16_0153)."""

LITE = ToolList(
    "github mindspore-ai/mindspore-lite 2b28870, tools/converter/parser/onnx/*: OnnxNodeRegistrar. Its parsers do not "
    "ask for the opset; the highest that a document names was not found",
    _names("""
    Abs Acos Acosh Add And ArgMax ArgMin AscendDequant AscendQuant Asin Asinh Atan Atanh AveragePool BatchNormalization
    BiasAdd BitShift Cast Ceil Celu Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DepthToSpace
    DequantizeLinear Det Div Dropout Einsum Elu Equal Erf Exp Expand Flatten Floor GRU Gather GatherElements GatherND
    Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GridSample GroupNorm HardSigmoid HardSwish Identity
    If InstanceNormalization LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax Loop LpNormalization
    MatMul Max MaxPool MeanVarianceNormalization Min Mod Mul Multinomial Neg NonMaxSuppression NonZero Not OneHot Or
    PRelu Pad Pow QuantizeLinear RandomNormal RandomNormalLike RandomUniformLike Range Reciprocal ReduceL1 ReduceL2
    ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize
    ReverseSequence RoiAlign Round Scatter ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice
    Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh TfIdfVectorizer Tile TopK Transpose Trilu
    Unsqueeze Upsample Where Xor
    """),
    (11, 18),
)
