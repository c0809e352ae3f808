//! PDF bytes of a laid-out report: printpdf writes pages and subset fonts, a second step over
//! lopdf puts right what printpdf leaves random or wrong (docs/decisions/0006-pdf.md) and embeds
//! `report.json`. The same report gives the same bytes, in any process. It never signs, and it
//! claims no PDF/A or PDF/X level, because none was validated.

use crate::base::unit::UtcNanos;
use crate::report::canvas::{Face, PAGE_HEIGHT, PAGE_WIDTH};
use crate::report::model::Report;
use crate::report::render::{Mark, layout};
use lopdf::{Dictionary, Document, Object, ObjectId, Stream, StringFormat, dictionary};
use printpdf::{Mm, PdfDocument, PdfFont, PdfPage, PdfSaveOptions, Pt};
use sha2::{Digest, Sha256};

/// Name of the embedded file.
pub const EMBEDDED: &str = "report.json";

/// Why no PDF could be written. It can only be a defect of the build or of a library.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PdfError {
    /// An embedded font file could not be read.
    Font,
    /// printpdf warned: what it warns of (missing glyphs, empty fonts) must not happen.
    Draw(String),
    /// lopdf refused a step.
    Write(String),
}

impl std::fmt::Display for PdfError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PdfError::Font => f.write_str("an embedded font could not be read"),
            PdfError::Draw(text) => write!(f, "drawing the pages failed: {text}"),
            PdfError::Write(text) => write!(f, "writing the file failed: {text}"),
        }
    }
}

impl std::error::Error for PdfError {}

impl From<lopdf::Error> for PdfError {
    fn from(error: lopdf::Error) -> Self {
        PdfError::Write(error.to_string())
    }
}

/// Writes the report as PDF with `json` embedded. The document's date is the cut-off.
pub fn write(report: &Report, json: &[u8]) -> Result<Vec<u8>, PdfError> {
    let at = report.naming.cut_off;
    let layout = layout(report);
    let mut pdf = PdfDocument::new(&report.title);
    for face in Face::ALL {
        let font = face.font().ok_or(PdfError::Font)?.clone();
        pdf.resources.fonts.map.insert(face.id(), PdfFont::new(font));
    }
    let (width, height) = (Mm::from(Pt(PAGE_WIDTH)), Mm::from(Pt(PAGE_HEIGHT)));
    let pages = layout.canvas.into_pages();
    pdf.with_pages(pages.into_iter().map(|ops| PdfPage::new(width, height, ops)).collect());
    let options = PdfSaveOptions { subset_fonts: true, ..PdfSaveOptions::default() };
    let mut warnings = Vec::new();
    let mut doc = pdf.to_lopdf_document(&options, &mut warnings);
    if let Some(warning) = warnings.first() {
        return Err(PdfError::Draw(warning.msg.clone()));
    }
    doc.version = "1.7".to_owned();
    doc.compress();
    let date = date(at);
    information(&mut doc, report, &date);
    let metadata = metadata(&mut doc, report, at);
    let file = embed(&mut doc, json, &date);
    let outline = outline(&mut doc, &layout.marks)?;
    let catalog = doc.catalog_mut()?;
    catalog.set("Lang", text("en"));
    catalog.set("PageLayout", "SinglePage");
    catalog.set("PageMode", "UseOutlines");
    catalog.set("ViewerPreferences", dictionary! { "DisplayDocTitle" => true });
    catalog.set("Metadata", metadata);
    catalog.set("AF", vec![Object::Reference(file)]);
    let names = dictionary! { "Names" => vec![text(EMBEDDED), Object::Reference(file)] };
    catalog.set("Names", dictionary! { "EmbeddedFiles" => names });
    catalog.set("Outlines", outline);
    let digest: [u8; 32] = Sha256::digest(json).into();
    let id = digest.first_chunk::<16>().map(|head| head.to_vec()).unwrap_or_default();
    let id = Object::String(id, StringFormat::Hexadecimal);
    doc.trailer.set("ID", vec![id.clone(), id]);
    let mut bytes = Vec::new();
    doc.save_to(&mut bytes).map_err(|e| PdfError::Write(e.to_string()))?;
    Ok(bytes)
}

/// Title and date only: printpdf would add trapping and a PDF/X version that is not true.
fn information(doc: &mut Document, report: &Report, date: &str) {
    let info = dictionary! {
        "Title" => text(&report.title),
        "Producer" => text(&report.naming.software),
        "CreationDate" => Object::string_literal(date),
        "ModDate" => Object::string_literal(date),
    };
    let old = doc.trailer.get(b"Info").and_then(Object::as_reference);
    match old {
        Ok(id) => doc.set_object(id, info),
        Err(_) => {
            let id = doc.add_object(info);
            doc.trailer.set("Info", id);
        }
    }
}

/// XMP, uncompressed, as ISO 32000-1 section 14.3.2 wants it for readers that know no PDF.
fn metadata(doc: &mut Document, report: &Report, at: UtcNanos) -> ObjectId {
    let title = xml(&report.title);
    let software = xml(&report.naming.software);
    let at = UtcNanos(at.0 / 1_000_000_000 * 1_000_000_000);
    let packet = format!(
        "<?xpacket begin=\"\u{feff}\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n\
         <x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\n\
         <rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\n\
         <rdf:Description rdf:about=\"\" xmlns:dc=\"http://purl.org/dc/elements/1.1/\" \
         xmlns:xmp=\"http://ns.adobe.com/xap/1.0/\" xmlns:pdf=\"http://ns.adobe.com/pdf/1.3/\">\n\
         <dc:title><rdf:Alt><rdf:li xml:lang=\"x-default\">{title}</rdf:li></rdf:Alt></dc:title>\n\
         <dc:identifier>{id}</dc:identifier>\n\
         <xmp:CreateDate>{at}</xmp:CreateDate>\n\
         <xmp:ModifyDate>{at}</xmp:ModifyDate>\n\
         <pdf:Producer>{software}</pdf:Producer>\n\
         </rdf:Description>\n</rdf:RDF>\n</x:xmpmeta>\n<?xpacket end=\"r\"?>",
        id = report.id,
    );
    let dict = dictionary! { "Type" => "Metadata", "Subtype" => "XML" };
    doc.add_object(Stream::new(dict, packet.into_bytes()).with_compression(false))
}

/// The canonical report inside the document, associated as its data.
fn embed(doc: &mut Document, json: &[u8], date: &str) -> ObjectId {
    let parameters = dictionary! {
        "Size" => i64::try_from(json.len()).unwrap_or(i64::MAX),
        "ModDate" => Object::string_literal(date),
    };
    let dict = dictionary! {
        "Type" => "EmbeddedFile",
        "Subtype" => "application/json",
        "Params" => parameters,
    };
    let mut stream = Stream::new(dict, json.to_vec());
    // A stream that does not shrink stays as it is; that is no failure.
    let _ = stream.compress();
    let data = doc.add_object(stream);
    doc.add_object(dictionary! {
        "Type" => "Filespec",
        "F" => text(EMBEDDED),
        "UF" => text(EMBEDDED),
        "Desc" => text("The report in canonical JSON (RFC 8785)"),
        "AFRelationship" => "Data",
        "EF" => dictionary! { "F" => data, "UF" => data },
    })
}

/// A flat outline in the order of the marks.
fn outline(doc: &mut Document, marks: &[Mark]) -> Result<ObjectId, PdfError> {
    let pages: Vec<ObjectId> = doc.page_iter().collect();
    let root = doc.new_object_id();
    let ids: Vec<ObjectId> = marks.iter().map(|_| doc.new_object_id()).collect();
    for (n, mark) in marks.iter().enumerate() {
        let page = *pages.get(mark.page).ok_or(PdfError::Write("outline".into()))?;
        let top = (PAGE_HEIGHT - mark.y + 14.0).round();
        let target: Vec<Object> =
            vec![page.into(), "XYZ".into(), Object::Null, top.into(), Object::Null];
        let mut item = Dictionary::new();
        item.set("Title", text(&mark.title));
        item.set("Parent", root);
        item.set("Dest", target);
        if let Some(id) = n.checked_sub(1).and_then(|before| ids.get(before)) {
            item.set("Prev", *id);
        }
        if let Some(id) = ids.get(n + 1) {
            item.set("Next", *id);
        }
        if let Some(id) = ids.get(n) {
            doc.set_object(*id, item);
        }
    }
    let mut list = dictionary! { "Type" => "Outlines", "Count" => ids.len() as i64 };
    if let (Some(first), Some(last)) = (ids.first(), ids.last()) {
        list.set("First", *first);
        list.set("Last", *last);
    }
    doc.set_object(root, list);
    Ok(root)
}

/// A text string: UTF-16 with a mark when it is not ASCII.
fn text(value: &str) -> Object {
    if value.is_ascii() {
        return Object::string_literal(value);
    }
    let units = value.encode_utf16().flat_map(u16::to_be_bytes);
    let bytes = [0xfe, 0xff].into_iter().chain(units).collect();
    Object::String(bytes, StringFormat::Hexadecimal)
}

/// `D:YYYYMMDDHHMMSSZ`.
fn date(at: UtcNanos) -> String {
    let (year, month, day) = at.day().civil();
    let seconds = at.seconds() % 86_400;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("D:{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}Z")
}

fn xml(value: &str) -> String {
    value
        .chars()
        .filter(|c| !c.is_control())
        .flat_map(|c| match c {
            '<' => "&lt;".chars().collect::<Vec<_>>(),
            '>' => "&gt;".chars().collect(),
            '&' => "&amp;".chars().collect(),
            '"' => "&quot;".chars().collect(),
            c => vec![c],
        })
        .collect()
}
