import pytest
from PIL import Image

from finetuner.data.csv import CSVOptions
from finetuner.data.dataset import Dataset
from finetuner.data.readers import read
from finetuner.errors import ArgumentError, DataError


@pytest.fixture
def file(tmp_path):
    def write(text, name='data.csv'):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def rows(records):
    return [[None if i < 0 else records.contents[i] for i in row] for row in records.rows]


def test_a_header_says_what_the_columns_are(file):
    records = read(file('text,category\n"one, two",x\n"three\nlines\n",y\nfour,x\n'))
    assert (records.kind, records.labels) == ('class', ['x', 'y', 'x'])
    assert list(records.contents) == ['one, two', 'three\nlines\n', 'four']
    assert list(records.names) == ['data.csv line 2', 'data.csv line 3', 'data.csv line 6']


def test_a_path_may_be_a_string(file):
    assert len(read(str(file('text,label\na,1\nb,2\n')))) == 2


def test_without_header_the_number_of_columns_decides(file):
    assert read(file('a\nb\n')).kind == 'instance'
    assert rows(read(file('q1,d1\nq2,d2\n'))) == [['q1', 'd1'], ['q2', 'd2']]
    assert read(file('a,x\nb,x\n'), csv_options=CSVOptions(is_labeled=True)).labels == ['x', 'x']
    scored = read(file('a,b,0.5\nc,d,1\n'))
    assert (scored.kind, scored.scores.tolist()) == ('score', [[0.5], [1.0]])
    assert rows(read(file('a,p,n\nb,q,\n'))) == [['a', 'p', 'n'], ['b', 'q', None]]
    assert read(file('a,p,n,0.5\nb,q,m,1\n')).width == 3


def test_no_row_is_dropped_and_a_text_in_several_rows_is_one_item(file):
    records = read(file('a,b\nc,d\na,d\n'))
    assert rows(records) == [['a', 'b'], ['c', 'd'], ['a', 'd']]
    assert len(records) == 4


@pytest.mark.parametrize('delimiter', ',;\t|')
def test_the_delimiter_is_found(file, delimiter):
    text = '\n'.join(f'text {i}{delimiter}label {i % 2}' for i in range(4))
    assert read(file(text), csv_options=CSVOptions(is_labeled=True)).labels == ['label 0', 'label 1'] * 2


def test_a_letter_is_no_delimiter(file):
    assert list(read(file('banana\nananas\ncanada\n')).contents) == ['banana', 'ananas', 'canada']


def test_a_dialect_can_be_given(file):
    path = file('a;b,x\nc;d,y\n')
    assert rows(read(path, csv_options=CSVOptions(dialect='excel'))) == [['a;b', 'x'], ['c;d', 'y']]


def test_a_byte_order_mark_an_odd_separator_and_empty_lines_are_nothing(file):
    records = read(file('\ufefftext,label\r\na\u2028b,1\r\n\r\nc,1\r\n'))
    assert list(records.contents) == ['a\u2028b', 'c']
    assert records.names[1] == 'data.csv line 4'


def test_size_and_sampling_rate(file):
    path = file('text\n' + '\n'.join(f't{i}' for i in range(1000)))
    assert list(read(path, csv_options=CSVOptions(size=2)).contents) == ['t0', 't1']
    some = list(read(path, csv_options=CSVOptions(sampling_rate=0.1)).contents)
    assert 50 < len(some) < 200
    assert some == list(read(path, csv_options=CSVOptions(sampling_rate=0.1)).contents)


def test_names_of_images_stand_where_the_file_is(file, tmp_path):
    Image.new('RGB', (4, 3)).save(tmp_path / 'a.png')
    for text in ('image,label\na.png,1\na.png,2\n', 'a.png,1\na.png,2\n'):
        dataset = Dataset(read(file(text), csv_options=CSVOptions(is_labeled=True)))
        assert dataset.content(0).shape == (3, 4, 3)
    pair = Dataset(read(file('a.png,a picture\na.png,another\n')))
    assert pair.content(0).shape == (3, 4, 3)
    options = CSVOptions(is_labeled=True, convert_to_blob=False)
    assert Dataset(read(file('a.png,1\nb.png,2\n'), csv_options=options)).content(0) == 'a.png'


@pytest.mark.parametrize(
    'uri', ['http://127.0.0.1:9/a.png', 'https://localhost/a.png', 'file:///etc/passwd', 'data:,x']
)
def test_urls_in_cells_are_not_fetched(file, uri):
    dataset = Dataset(read(file(f'uri,label\n"{uri}",1\n"{uri}",2\n')))
    with pytest.raises(DataError, match=r'data.csv line 2: .* is not fetched, because it came out of a file'):
        dataset.content(0)


def test_urls_are_fetched_if_allowed_but_never_inside_the_network_or_from_files(file):
    dataset = Dataset(read(file('uri,label\nhttp://127.0.0.1:9/a.png,1\nfile:///etc/passwd,2\n'), allow_urls=True))
    with pytest.raises(DataError, match=r'127.0.0.1 is no public address'):
        dataset.content(0)
    with pytest.raises(DataError, match=r'file: is not allowed'):
        dataset.content(1)


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('', 'data.csv is empty'),
        ('\n\n', 'data.csv is empty'),
        ('text,label\n', 'has a header and no rows'),
        ('text,label\na,1\nb,2,3\n', r'line 3 has 3 cells, line 1 has 2.*double quotes'),
        ('text,label\na,"1\n', 'line 2 is no proper CSV'),
        (b'text,label\n\xff\xfe,1\n', r"line 2 is not written in utf-8.*encoding='latin-1'"),
        ('anchor,positive\na,b\nc,\n', "no positive in data.csv line 3 but ''"),
        ('text1,text2,score\na,b,1\nc,d,?\n', 'score is no finite number in data.csv line 3'),
        ('text,intent\na,x\nb,y\n', 'Call one of them label'),
    ],
)
def test_what_is_wrong_is_said_with_the_line(file, text, reason):
    with pytest.raises(DataError, match=reason):
        read(file(text))


def test_the_second_column_can_be_called_a_label(file):
    assert read(file('text,intent\na,x\nb,y\n'), csv_options=CSVOptions(is_labeled=True)).labels == ['x', 'y']


def test_another_encoding(file):
    records = read(file('text,label\ncafé,1\nb,2\n'.encode('latin-1')), csv_options=CSVOptions(encoding='latin-1'))
    assert records.contents[0] == 'café'


def test_a_missing_file_suggests_the_nearest(file, tmp_path):
    file('text\na\n', 'train.csv')
    with pytest.raises(DataError, match=r"no file .*trian.csv.*Did you mean 'train.csv'"):
        read(tmp_path / 'trian.csv')
    with pytest.raises(DataError, match=r'There is no folder'):
        read('no/such/folder/data.csv')
    with pytest.raises(DataError, match=r"is a folder; give the path of a file in it, 'train.csv'"):
        read(tmp_path)
    with pytest.raises(DataError, match=r'data.json is no CSV file'):
        read(file('{}', 'data.json'))


@pytest.mark.parametrize(
    ('options', 'reason'),
    [
        ({'size': 0}, 'size=0'),
        ({'sampling_rate': 2.0}, 'sampling_rate=2.0'),
        ({'dialect': 'exel'}, "no CSV dialect 'exel'; known are auto, excel"),
    ],
)
def test_impossible_options_are_refused(options, reason):
    with pytest.raises(ArgumentError, match=reason):
        CSVOptions(**options)


def test_an_unknown_encoding_is_refused(file):
    with pytest.raises(ArgumentError, match=r"no encoding 'utf-9'"):
        read(file('a\n'), csv_options=CSVOptions(encoding='utf-9'))
