//! One literal at a time or two, as each generation of libzstd chooses.

use crate::rules::Rules;

/// Whether a decoder takes literals one or two at a time, from what it believes to be faster:
/// `HUF_selectDecoder` and its measured table, which old and new generations have each their own
/// (lib/zstd/decompress/huf_decompress.c).
pub(crate) fn decodes_pairs(literals: usize, stored: usize, rules: Rules) -> bool {
    if rules.single_literals() {
        return false;
    }
    let ratio = match stored >= literals {
        true => 15,
        false => stored * 16 / literals.max(1),
    };
    let (costs, favour) = match rules {
        Rules::V1_4_10 => (&COSTS_1_4, 3),
        _ => (&COSTS_1_5, 5),
    };
    let Some(&[table_one, each_one, table_two, each_two]) = costs.get(ratio) else {
        return false;
    };
    let units = u32::try_from(literals >> 8).unwrap_or(0);
    let one = table_one + each_one * units;
    let two = table_two + each_two * units;
    two + (two >> favour) < one
}

/// Per sixteenth of compression: time for the table and for 256 literals, singly and in pairs.
const COSTS_1_4: [[u32; 4]; 16] = [
    [0, 0, 1, 1],
    [0, 0, 1, 1],
    [38, 130, 1313, 74],
    [448, 128, 1353, 74],
    [556, 128, 1353, 74],
    [714, 128, 1418, 74],
    [883, 128, 1437, 74],
    [897, 128, 1515, 75],
    [926, 128, 1613, 75],
    [947, 128, 1729, 77],
    [1107, 128, 2083, 81],
    [1177, 128, 2379, 87],
    [1242, 128, 2415, 93],
    [1349, 128, 2644, 106],
    [1455, 128, 2422, 124],
    [722, 128, 1891, 145],
];

/// The same since 1.5.0.
const COSTS_1_5: [[u32; 4]; 16] = [
    [0, 0, 1, 1],
    [0, 0, 1, 1],
    [150, 216, 381, 119],
    [170, 205, 514, 112],
    [177, 199, 539, 110],
    [197, 194, 644, 107],
    [221, 192, 735, 107],
    [256, 189, 881, 106],
    [359, 188, 1167, 109],
    [582, 187, 1570, 114],
    [688, 187, 1712, 122],
    [825, 186, 1965, 136],
    [976, 185, 2131, 150],
    [1180, 186, 2070, 175],
    [1377, 185, 1731, 202],
    [1412, 185, 1695, 202],
];
