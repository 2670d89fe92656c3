//! Where a tensor lies in a file: type, shape, strides and the offset of its first element. Views of it
//! (rows, transposes) are the same bytes read in another order, so nothing is copied to make one.

use std::ops::Range;

use tch::{Kind, TchError, Tensor};

/// The type of a tensor's elements in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredType {
    /// One of the floating-point types that weights come in.
    Weight(Kind),
    /// Any other, by its name: such a tensor may stand in the file but not be asked for.
    Other(String),
}

/// A tensor in a file, checked to lie inside its storage.
#[derive(Clone, Debug)]
pub struct StoredTensor {
    /// Which of the open files.
    pub(super) file: usize,
    dtype: StoredType,
    shape: Vec<i64>,
    /// In elements.
    strides: Vec<i64>,
    /// Of the first element, in bytes from the start of the file.
    offset: usize,
    /// What the elements are to be multiplied by ([`super::scaled`]): of as many dimensions, and broadcast.
    pub(super) scale: Option<Box<StoredTensor>>,
}

/// Strides of a dense row-major tensor.
fn dense_strides(shape: &[i64]) -> Vec<i64> {
    let mut strides = vec![1i64; shape.len()];
    for i in (0..shape.len().saturating_sub(1)).rev() {
        strides[i] = strides[i + 1].saturating_mul(shape[i + 1].max(1));
    }
    strides
}

impl StoredTensor {
    /// A tensor whose storage is `storage` (bytes of the file) and whose first element is `first`
    /// elements into it; dense if no strides are given. The error says what does not fit.
    pub(super) fn new(
        file: usize,
        dtype: StoredType,
        shape: Vec<i64>,
        strides: Option<Vec<i64>>,
        storage: Range<usize>,
        first: i64,
    ) -> Result<Self, String> {
        let strides = strides.unwrap_or_else(|| dense_strides(&shape));
        if strides.len() != shape.len() || shape.iter().chain(&strides).any(|&n| n < 0) || first < 0 {
            return Err(format!("impossible shape {shape:?} with strides {strides:?}"));
        }
        let StoredType::Weight(kind) = &dtype else {
            return Ok(Self { file, dtype, shape, strides, offset: storage.start, scale: None });
        };
        let size = kind.elt_size_in_bytes();
        let room = (storage.len() / size) as i64;
        let count = shape.iter().try_fold(1i64, |n, &d| n.checked_mul(d));
        // Index of the last element; -1 where there is none.
        let last = if shape.contains(&0) {
            Some(first - 1)
        } else {
            let steps = shape.iter().zip(&strides).map(|(&d, &s)| (d - 1).checked_mul(s));
            steps.into_iter().try_fold(first, |at, step| at.checked_add(step?))
        };
        match (count, last) {
            // More elements than the storage has would mean that some are read again and again: a small
            // file could ask for any amount of memory.
            (Some(count), Some(last)) if last < room && count <= room => {
                let offset = storage.start + first as usize * size;
                Ok(Self { file, dtype, shape, strides, offset, scale: None })
            }
            _ => Err(format!(
                "shape {shape:?} with strides {strides:?} from element {first} on does not fit into a \
                 storage of {room} elements"
            )),
        }
    }

    pub fn shape(&self) -> &[i64] {
        &self.shape
    }

    /// Where the first element lies, in bytes from the start of the file.
    pub(super) fn start(&self) -> usize {
        self.offset
    }

    pub fn dtype(&self) -> &StoredType {
        &self.dtype
    }

    /// Part `part` of `of` equal parts along the first dimension.
    pub(super) fn rows(&self, part: i64, of: i64) -> Option<Self> {
        let (&rows, &stride) = (self.shape.first()?, self.strides.first()?);
        if of <= 0 || rows % of != 0 || !(0..of).contains(&part) {
            return None;
        }
        let mut view = self.clone();
        if let Some(scale) = view.scale.as_deref_mut()
            && scale.shape.first() != Some(&1)
        {
            *scale = scale.rows(part, of)?;
        }
        view.shape[0] = rows / of;
        if let StoredType::Weight(kind) = &self.dtype {
            view.offset += (part * (rows / of) * stride) as usize * kind.elt_size_in_bytes();
        }
        Some(view)
    }

    /// A matrix with rows and columns exchanged.
    pub(super) fn transposed(&self) -> Option<Self> {
        let mut view = self.clone();
        if view.shape.len() != 2 {
            return None;
        }
        view.shape.swap(0, 1);
        view.strides.swap(0, 1);
        if let Some(scale) = view.scale.as_deref_mut() {
            *scale = scale.transposed()?;
        }
        Some(view)
    }

    /// A 1×1 convolution [out, in, 1, 1] (or [out, in, 1]) as a matrix [out, in].
    pub(super) fn matrix(&self) -> Option<Self> {
        if self.shape.len() < 2 || self.shape.iter().skip(2).any(|&d| d != 1) {
            return None;
        }
        let mut view = self.clone();
        view.shape.truncate(2);
        view.strides.truncate(2);
        if let Some(scale) = view.scale.as_deref_mut() {
            *scale = scale.matrix()?;
        }
        Some(view)
    }

    /// One number, or one for each row of `weight` ([out], [out, 1], [out, 1, 1, 1]), in as many dimensions as the
    /// weight has, so that it can be broadcast; none where it is neither.
    pub(super) fn for_rows_of(&self, weight: &Self) -> Option<Self> {
        let mut fitted = self.clone();
        let rank = weight.shape.len();
        if self.shape.iter().all(|&d| d == 1) {
            (fitted.shape, fitted.strides) = (vec![1; rank], vec![1; rank]);
            return Some(fitted);
        }
        let (rows, rest) = self.shape.split_first()?;
        if weight.shape.first() != Some(rows) || rest.iter().any(|&d| d != 1) {
            return None;
        }
        fitted.shape.resize(rank, 1);
        fitted.strides.resize(rank, 1);
        Some(fitted)
    }

    /// The elements where they lie in the file's bytes, as a tensor of type `kind` (this tensor's weight
    /// type); none where they are scattered, not aligned or cut off.
    ///
    /// # Safety
    /// The bytes must stay where they are for as long as the tensor or any view of it lives.
    pub(super) unsafe fn in_place(&self, bytes: &[u8], kind: Kind) -> Option<Result<Tensor, TchError>> {
        if self.shape.contains(&0) || self.scale.is_some() || self.strides != dense_strides(&self.shape) {
            return None;
        }
        let bytes = bytes.get(self.range(kind))?;
        if bytes.as_ptr().align_offset(kind.elt_size_in_bytes()) != 0 {
            return None;
        }
        // SAFETY: the range covers every element, the address is aligned; the rest is the caller's promise.
        Some(unsafe {
            Tensor::f_from_blob(bytes.as_ptr(), &self.shape, &self.strides, kind, tch::Device::Cpu)
        })
    }

    /// The bytes of the file from the first element to the last.
    pub(super) fn range(&self, kind: Kind) -> Range<usize> {
        if self.shape.contains(&0) {
            return self.offset..self.offset;
        }
        let steps: i64 = self.shape.iter().zip(&self.strides).map(|(&d, &s)| (d - 1) * s).sum();
        self.offset..self.offset + (steps as usize + 1) * kind.elt_size_in_bytes()
    }

    /// Copies the elements out of the file's bytes into `target`, which has this shape: one pass that also
    /// converts the type and moves to the device. `kind` is this tensor's weight type.
    pub(super) fn copy_into(&self, bytes: &[u8], kind: Kind, target: &mut Tensor) -> Result<(), TchError> {
        if self.shape.contains(&0) {
            return Ok(());
        }
        let size = kind.elt_size_in_bytes();
        let short = || TchError::Torch("the file is shorter than when it was opened".into());
        let bytes = bytes.get(self.range(kind)).ok_or_else(short)?;
        if bytes.as_ptr().align_offset(size) == 0 {
            // SAFETY: the span covers every element that the strides reach, the address is aligned, and
            // the view lives no longer than this function, the bytes longer.
            let view = unsafe {
                Tensor::f_from_blob(bytes.as_ptr(), &self.shape, &self.strides, kind, tch::Device::Cpu)?
            };
            target.f_copy_(&view)
        } else {
            let flat = Tensor::f_from_data_size(bytes, &[(bytes.len() / size) as i64], kind)?;
            target.f_copy_(&flat.f_as_strided(&self.shape[..], &self.strides[..], None::<i64>)?)
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const F32: StoredType = StoredType::Weight(Kind::Float);

    fn read(stored: &StoredTensor, bytes: &[u8]) -> Vec<f32> {
        let mut target = Tensor::zeros(stored.shape(), (Kind::Float, tch::Device::Cpu));
        stored.copy_into(bytes, Kind::Float, &mut target).unwrap();
        Vec::try_from(&target.flatten(0, -1)).unwrap()
    }

    #[test]
    fn views_read_the_same_bytes_in_another_order() {
        // One byte in front, so that both the aligned and the copying way are taken.
        for lead in [0usize, 1, 4] {
            let mut bytes = vec![0u8; lead];
            bytes.extend((0..6u8).flat_map(|n| f32::from(n).to_le_bytes()));
            let whole = StoredTensor::new(0, F32, vec![2, 3], None, lead..bytes.len(), 0).unwrap();
            assert_eq!(read(&whole, &bytes), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
            let turned = whole.transposed().unwrap();
            assert_eq!(turned.shape(), [3, 2]);
            assert_eq!(read(&turned, &bytes), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
            assert_eq!(read(&whole.rows(1, 2).unwrap(), &bytes), [3.0, 4.0, 5.0]);
            assert_eq!(read(&turned.rows(2, 3).unwrap(), &bytes), [2.0, 5.0]);
            let strided = StoredTensor::new(0, F32, vec![2], Some(vec![3]), lead..bytes.len(), 2).unwrap();
            assert_eq!(read(&strided, &bytes), [2.0, 5.0]);
            let conv = StoredTensor::new(0, F32, vec![3, 2, 1, 1], None, lead..bytes.len(), 0).unwrap();
            assert_eq!(conv.matrix().unwrap().shape(), [3, 2]);
            assert_eq!(read(&conv.matrix().unwrap(), &bytes).len(), 6);
        }
    }

    #[test]
    fn the_scales_of_rows_go_with_every_view() {
        let stored = |shape: &[i64]| {
            let bytes = 4 * shape.iter().product::<i64>() as usize;
            StoredTensor::new(0, F32, shape.to_vec(), None, 0..bytes, 0).unwrap()
        };
        let scale_of = |view: &StoredTensor| {
            let scale = view.scale.as_ref().unwrap();
            let bytes: Vec<u8> = (0..4u8).flat_map(|n| f32::from(n).to_le_bytes()).collect();
            (scale.shape().to_vec(), read(scale, &bytes))
        };
        for shape in [vec![4], vec![4, 1], vec![4, 1, 1, 1]] {
            let mut weight = stored(&[4, 3]);
            weight.scale = stored(&shape).for_rows_of(&weight).map(Box::new);
            assert_eq!(scale_of(&weight), (vec![4, 1], vec![0.0, 1.0, 2.0, 3.0]));
            let second = weight.rows(1, 2).unwrap();
            assert_eq!(scale_of(&second), (vec![2, 1], vec![2.0, 3.0]));
            assert_eq!(scale_of(&second.transposed().unwrap()), (vec![1, 2], vec![2.0, 3.0]));
        }
        let mut conv = stored(&[4, 3, 1, 1]);
        conv.scale = stored(&[4]).for_rows_of(&conv).map(Box::new);
        assert_eq!(scale_of(&conv).0, [4, 1, 1, 1]);
        assert_eq!(scale_of(&conv.matrix().unwrap()), (vec![4, 1], vec![0.0, 1.0, 2.0, 3.0]));
        for shape in [vec![], vec![1], vec![1, 1]] {
            conv.scale = stored(&shape).for_rows_of(&conv).map(Box::new);
            assert_eq!(scale_of(&conv.rows(1, 2).unwrap()), (vec![1, 1, 1, 1], vec![0.0]));
        }
        for shape in [vec![3], vec![1, 4], vec![4, 3], vec![2, 1], vec![0], vec![4, 0]] {
            assert!(stored(&shape).for_rows_of(&conv).is_none(), "{shape:?}");
        }
    }

    #[test]
    fn views_that_do_not_fit_are_none() {
        let whole = StoredTensor::new(0, F32, vec![2, 3], None, 0..24, 0).unwrap();
        assert!(whole.rows(0, 4).is_none() && whole.rows(2, 2).is_none() && whole.rows(0, 0).is_none());
        let conv = StoredTensor::new(0, F32, vec![2, 1, 3, 1], None, 0..24, 0).unwrap();
        assert!(conv.matrix().is_none() && conv.transposed().is_none());
        let scalar = StoredTensor::new(0, F32, vec![], None, 0..4, 0).unwrap();
        assert!(scalar.matrix().is_none() && scalar.rows(0, 1).is_none());
        assert_eq!(read(&scalar, &[0, 0, 128, 63]), [1.0]);
    }

    #[test]
    fn what_reaches_beyond_the_storage_is_refused() {
        let max = i64::MAX;
        for (shape, strides, first) in [
            (vec![2, 4], None, 0),
            (vec![2, 3], None, 1),
            (vec![2, 3], Some(vec![4, 1]), 0),
            (vec![2, 3], Some(vec![3]), 0),
            (vec![-2, 3], None, 0),
            (vec![2, 3], Some(vec![-3, 1]), 3),
            (vec![1], None, -1),
            (vec![1], None, max),
            (vec![max, max], None, 0),
            (vec![2, 2], Some(vec![max, max]), 0),
            // Every element again and again.
            (vec![1 << 40], Some(vec![0]), 0),
            (vec![max], Some(vec![0]), 0),
        ] {
            let made = StoredTensor::new(0, F32, shape.clone(), strides.clone(), 0..24, first);
            assert!(made.is_err(), "{shape:?} {strides:?} {first}");
        }
        assert!(StoredTensor::new(0, F32, vec![0, 5], None, 0..0, 0).is_ok());
    }
}
